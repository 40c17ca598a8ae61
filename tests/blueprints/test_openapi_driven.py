"""Requests made from the document, right and wrong ones, against the gateway: its answers are those the document tells."""

from collections.abc import Iterator

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from copilotapi.openapi import document
from copilotapi.simulator import Simulator
from tests.gateway_process import GatewayProcess

KEY, ADMIN_KEY = "client-key-0123456789", "admin-key-0123456789"


_DOCUMENT = document(title="CopilotAPI", description="A gateway.", version="1.2.3")
_CONFIG = SchemathesisConfig.from_dict(
    {
        "headers": {"x-api-key": ADMIN_KEY},
        "seed": 1,
        "generation": {"max-examples": 4, "deterministic": True, "database": "none"},
    }
)
# The same operations under other paths have the same views.
schema = schemathesis.openapi.from_dict(_DOCUMENT, config=_CONFIG).exclude(tag="Other spellings")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    settings = {"API_KEYS": KEY, "ADMIN_KEY": ADMIN_KEY, "RATE_LIMIT_PER_MINUTE": "0"}
    with Simulator() as simulator, GatewayProcess(simulator.url, **settings) as gateway:
        yield gateway.url


@schema.parametrize()
def test_answers_to_any_request_are_those_of_the_document(case: schemathesis.Case, url: str) -> None:
    case.call_and_validate(
        base_url=url,
        checks=[
            status_code_conformance,
            content_type_conformance,
            response_headers_conformance,
            response_schema_conformance,
            negative_data_rejection,
            unsupported_method,
        ],
    )
