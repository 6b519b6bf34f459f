"""The command line."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Annotated

import typer
import yaml

from qiskit_runtime_operator.cluster.connection import Kubeconfig
from qiskit_runtime_operator.cluster.crd_upgrade import update_crd
from qiskit_runtime_operator.errors import OperatorError
from qiskit_runtime_operator.log_lines import begin_log, end
from qiskit_runtime_operator.run.operate import operate
from qiskit_runtime_operator.settings import Settings

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The Kubernetes operator of RuntimeServers: makes what they ask for, and keeps it that way.",
)
crds = typer.Typer(no_args_is_help=True, help="The CRD of RuntimeServers in the cluster.")
cli.add_typer(crds, name="crds")


Files = Annotated[
    str | None, typer.Option("--kubeconfig", help="Paths of kubeconfigs, instead of the service account or KUBECONFIG.")
]
Context = Annotated[
    str | None, typer.Option(help="Context of the kubeconfig, instead of the service account or the current context.")
]


@cli.command()
def run(kubeconfig: Files = None, context: Context = None) -> None:
    """Reconcile RuntimeServers until a signal says stop.

    All settings are environment variables, QRO_NAMESPACE and so on; docs/reference/operator-settings.md has the list.
    """
    settings = Settings.load()
    begin_log(settings.log_level, settings.log_format)
    with asyncio.Runner() as runner:
        runner.run(operate(settings, Kubeconfig(files=kubeconfig, context=context)))
        # All is done, and the Lease is free. To take the process apart would take longer than that, or very long, where
        # a thread waits for a name server that does not answer.
        logging.shutdown()
        os._exit(0)


@crds.command()
def apply(
    file: Annotated[Path, typer.Argument(help="A CustomResourceDefinition, as in crds/runtimeservers.yaml.")],
    kubeconfig: Files = None,
    context: Context = None,
) -> None:
    """Update an installed CRD, and wait until the API server has accepted it."""
    chosen = Kubeconfig(files=kubeconfig, context=context)
    name = asyncio.run(update_crd(yaml.safe_load(file.read_text()), chosen))
    typer.echo(f"{name} is up to date")


def main() -> None:
    """Run the command line; what cannot be done is one line."""
    try:
        cli()
    except OperatorError as error:
        end(str(error))


if __name__ == "__main__":
    main()
