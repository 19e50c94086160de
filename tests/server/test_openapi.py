"""`openapi.json` and the routes say the same."""

import json
from importlib.resources import files

import pytest

pytest.importorskip("starlette")

from nanostyle.server import wire
from nanostyle.server.answers import status_of
from nanostyle.server.jobs import Job, Priority
from tests.support.server import application

DOCUMENT = json.loads(files("nanostyle.server").joinpath("openapi.json").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
METHODS = ("get", "post", "delete")


def test_every_route_is_described_and_there_is_no_other():
    site, _ = application()
    site.worker.close()
    routes = {(route.path, method.lower()) for route in site._routes() for method in route.methods - {"HEAD"}}
    described = {(path, method) for path, entry in DOCUMENT["paths"].items() for method in entry if method in METHODS}
    assert described == routes


def test_the_words_of_an_order_are_those_that_are_read():
    assert SCHEMAS["Order"]["properties"].keys() == wire._WORDS.keys()
    assert SCHEMAS["Layer"]["properties"].keys() == wire._LAYER_WORDS.keys()
    assert SCHEMAS["Refinement"]["properties"].keys() == wire._GATYS_WORDS.keys()


@pytest.mark.parametrize(("schema", "words"), [("Order", wire._WORDS), ("Refinement", wire._GATYS_WORDS)])
def test_the_ranges_are_those_that_are_checked(schema, words):
    checked = 0
    for name, said in SCHEMAS[schema]["properties"].items():
        said = said.get("anyOf", [said])[0]
        for value in said.get("enum", []):
            assert words[name](value, name) == value
        if "minimum" in said:
            whole = said["type"] == "integer"
            for value in (said["minimum"], said["maximum"]):
                assert words[name](int(value) if whole else value, name) == value
            for value in (said["minimum"] - 1, said["maximum"] + 1):
                with pytest.raises(wire.Refused):
                    words[name](value, name)
            checked += 1
    assert checked >= 3


def test_the_status_of_a_job_has_the_fields_that_are_described():
    status = status_of(Job(lambda job: iter(()), Priority.FINAL, kind="final"))
    assert status.keys() == SCHEMAS["Job"]["properties"].keys() == set(SCHEMAS["Job"]["required"])


def test_every_reference_leads_somewhere():
    def walk(value):
        if isinstance(value, dict):
            if "$ref" in value:
                found = DOCUMENT
                for part in value["$ref"].removeprefix("#/").split("/"):
                    found = found[part]
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(DOCUMENT)
