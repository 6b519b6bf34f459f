"""What `--help` says of options that are settings: the variable that does the same, and the default."""

from datetime import timedelta
from typing import Any

from typer.core import TyperCommand, TyperOption


class SettingsCommand(TyperCommand):
    """A command whose options are settings; only its help imports them."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - click's, or typer's copy of it
        """Write the help, with variable and default behind each option."""
        from qiskit_runtime_server.settings import Settings  # noqa: PLC0415 - see above

        for option in self.params:
            field = Settings.model_fields.get(str(option.name))
            if field is not None and isinstance(option, TyperOption) and "QRS_" not in (option.help or ""):
                default = _in_words(field.default)
                known = "" if default is None or default is False else f"; default: {default}"
                option.help = f"{option.help} (QRS_{str(option.name).upper()}{known})"
        super().format_help(ctx, formatter)


def _in_words(default: object) -> object:
    from qiskit_runtime_server.quantities import spelled  # noqa: PLC0415 - see above

    if isinstance(default, tuple):
        return " ".join(default)
    return spelled(default) if isinstance(default, timedelta) else default
