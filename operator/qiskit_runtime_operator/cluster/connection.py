"""How the API server is reached: by the official client, as the pod's service account or as a kubeconfig's user."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config
from kubernetes.aio.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigLoader, KubeConfigMerger
from yaml import YAMLError

from qiskit_runtime_operator.errors import ClusterError, StartupError

_AGENT: Final = "qiskit-runtime-operator"
_RENEWAL_SECONDS: Final = 60
# Programs that log in take a while: one whose credentials are refused is not run for each request.
_REFUSED_SECONDS: Final = 5
_CONNECT_SECONDS: Final = 5
# What the loader raises for files that are no kubeconfigs.
_MALFORMED: Final = (ConfigException, OSError, YAMLError, ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """What is chosen of kubeconfigs; if nothing is, a pod's service account goes before them.

    Attributes:
        files: Their paths, as in KUBECONFIG, which they replace.
        context: Which one, instead of the current one.
    """

    files: str | None = None
    context: str | None = None


class Connection:
    """The official client, and sessions for those who send requests by themselves.

    Attributes:
        client: Sends requests to the API server; its credentials are renewed as they rotate.
    """

    def __init__(self, client: ApiClient, credentials: "_Credentials") -> None:
        self.client = client
        self._credentials = credentials

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self.client.configuration.host)

    def session(
        self,
        traces: Sequence[aiohttp.TraceConfig] = (),
        middlewares: Sequence[aiohttp.ClientMiddlewareType] = (),
    ) -> aiohttp.ClientSession:
        """Return a new session, on the client's connections and with its credentials."""
        return aiohttp.ClientSession(
            connector=self.client.rest_client.pool_manager.connector,
            connector_owner=False,
            proxy=self.client.configuration.proxy,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            headers={"User-Agent": _AGENT},
            middlewares=(*middlewares, self._authorize),
            trace_configs=list(traces),
        )

    def refused(self) -> None:
        """Say that the API server does not know the credentials: they are renewed before their time."""
        self._credentials.refused = True

    async def _authorize(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        configuration = self.client.configuration
        try:
            settings = await configuration.auth_settings()
        except ClusterError as error:  # those who use a session know the errors of sessions
            raise aiohttp.ClientConnectionError(str(error)) from error
        for setting in settings.values():
            request.headers[setting["key"]] = setting["value"]
        if configuration.tls_server_name:
            request.server_hostname = configuration.tls_server_name
        return await handler(request)


_ANY: Final = Kubeconfig()


@asynccontextmanager
async def connected(chosen: Kubeconfig = _ANY) -> AsyncIterator[Connection]:
    """Give a connection to the API server.

    Raises:
        StartupError: If there are no credentials, or none that make sense.
    """
    configuration = Configuration()
    configuration.connection_pool_maxsize = 0  # without a limit: each watch has one for itself
    credentials = _Credentials(chosen)
    await credentials.load(configuration)
    configuration.refresh_api_key_hook = credentials.renew
    configuration.proxy = configuration.proxy or _proxy_of_environment(configuration.host)
    try:
        client = ApiClient(configuration)
    except OSError as error:
        raise StartupError(f"the TLS certificates for the API server cannot be used: {error}") from error
    client.user_agent = _AGENT
    _trust_no_netrc(client)
    async with client:
        yield Connection(client, credentials)


def _trust_no_netrc(client: ApiClient) -> None:
    """Give the client a session that does not look for ~/.netrc at each request.

    What it finds there is refused beside a token, and two threads for each request take longer than the rest of it.
    """
    own = client.rest_client.pool_manager
    client.rest_client.pool_manager = aiohttp.ClientSession(connector=own.connector)
    own.detach()


def _proxy_of_environment(server: str) -> str | None:
    """Return the proxy that variables as HTTPS_PROXY and NO_PROXY name for the API server."""
    url = urlsplit(server)
    return None if proxy_bypass(url.netloc) else getproxies().get(url.scheme)


class _Credentials:
    """Fills the official configuration, at first and whenever something may have rotated.

    Files are read again every minute; what a program said lasts for as long as it said, or for a minute. All is
    renewed before its time when the API server refuses it.
    """

    def __init__(self, chosen: Kubeconfig) -> None:
        self.refused = False
        self._chosen = chosen
        self._kubeconfig: _KubeconfigLoader | None = None
        self._read_at = 0.0

    async def load(self, configuration: Configuration) -> None:
        """Read everything.

        Raises:
            StartupError: If there are no credentials, or none that make sense.
        """
        self.refused, self._read_at = False, time.monotonic()
        if self._chosen == _ANY and _take_service_account(configuration):
            return
        self._kubeconfig = await _KubeconfigLoader.load(self._chosen, configuration)

    async def renew(self, configuration: Configuration) -> None:
        """Read what may have rotated, as the configuration's hook, which is called before each request.

        Raises:
            ClusterError: If that cannot be read now.
        """
        if time.monotonic() - self._read_at < (_REFUSED_SECONDS if self.refused else _RENEWAL_SECONDS):
            return
        try:
            if self._kubeconfig is not None and self._kubeconfig.lasts and not self.refused:
                self._read_at = time.monotonic()
                await self._kubeconfig.load_and_set(configuration)
            else:
                await self.load(configuration)
        except (StartupError, *_MALFORMED) as error:
            raise ClusterError(f"the credentials cannot be renewed: {error}") from error


class _KubeconfigLoader(KubeConfigLoader):  # type: ignore[misc]  # the library has no annotations
    """A kubeconfig, read as the library does; the program that it may name for logging in has to succeed."""

    @classmethod
    async def load(cls, chosen: Kubeconfig, configuration: Configuration) -> "_KubeconfigLoader":
        """Read the files that are chosen, or those of KUBECONFIG, or the one at home, and fill the configuration.

        Raises:
            StartupError: If they cannot be read, or make no sense.
        """
        files = chosen.files or KUBE_CONFIG_DEFAULT_LOCATION
        try:
            merged = KubeConfigMerger(files).config
            if merged is None:
                raise ConfigException("the file does not exist, and this pod has no service account")
            kubeconfig = cls(config_dict=merged, config_base_path=None, active_context=chosen.context)
            await kubeconfig.load_and_set(configuration)
        except _MALFORMED as error:
            raise StartupError(f"no credentials for the API server from the kubeconfig {files}: {error}") from error
        return kubeconfig

    @property
    def lasts(self) -> bool:
        """Whether a program gave credentials and said for how long."""
        return hasattr(self, "exec_plugin_expiry")

    async def load_from_exec_plugin(self) -> bool:
        """Run the program, unless what it said still lasts.

        Raises:
            ConfigException: If it gave nothing to log in with; the library has logged why.
        """
        if not await super().load_from_exec_plugin() or not {"token", "cert_file"} & vars(self).keys():
            raise ConfigException("its credential plugin returned no credentials")
        return True


def _take_service_account(configuration: Configuration) -> bool:
    """Fill the configuration with a pod's service account; False if this is no pod, or one that has none.

    Raises:
        StartupError: If there is one that cannot be read.
    """
    try:
        load_incluster_config(configuration, try_refresh_token=False)
    except ConfigException:
        return False
    except OSError as error:
        raise StartupError(f"the credentials of the pod's service account cannot be read: {error}") from error
    return True
