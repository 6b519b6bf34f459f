"""Which of the client library's tests cannot pass here, and why; and which need a server of another kind."""

from typing import Final

_PROXY: Final = (
    "has a proxy of its own, for https alone, that is to find the server at port 443, which only root can serve"
)

CANNOT_PASS: Final[dict[str, str]] = {
    "test_backend::TestIBMBackend::test_backend_fractional_gates_cache_behavior": (
        "expects the same object for a backend that is asked for twice; this client makes a new one each time,"
        " and is not found out where there is no `ibm_miami`"
    ),
    "test_proxies::TestProxies::test_proxies_cloud_runtime_client": _PROXY,
    "test_proxies::TestProxies::test_proxies_qiskit_runtime_service": _PROXY,
    "test_calibrator::TestCalibrator::test_calibrator": "is skipped everywhere by its authors",
    "test_estimator_v2::TestEstimatorV2::test_pec": "is skipped everywhere by its authors",
}

# These ask hosts whose names begin with `iam.`, or watch jobs wait on whichever device is the first of the list.
BY_NAMES: Final = (
    "test_account::TestQuantumPlatform::test_account_preferences_tags",
    "test_account::TestQuantumPlatform::test_passing_name_as_instance",
    "test_ibm_job::TestIBMJob::test_wait_for_final_state_timeout",
    "test_job::TestIntegrationJob::test_delete_job_queued",
    "test_session::TestIntegrationSession::test_session_instance_logic",
)
