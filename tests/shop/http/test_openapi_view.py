"""The address of the OpenAPI document: generated once per process, sent again only when it has changed."""

import json

import pytest
from django.test import Client, RequestFactory
from django.urls import path

from shop.http.openapi import Schema
from shop.http.openapi_view import ApiDocument
from shop.http.rest import ANYONE, View, endpoint


class CountingSchema(Schema):
    """Count how often an operation is described."""

    count = 0

    def get_operation(self, *arguments):
        CountingSchema.count += 1
        return super().get_operation(*arguments)


class Sample(View):
    schema = CountingSchema()

    @endpoint(access=ANYONE, responses={200: dict[str, int]})
    def get(self, request):
        """Get a sample."""
        return {}


def get_document(**headers):
    return Client().get("/api/openapi.json", headers=headers)


def test_the_document_is_generated_once():
    CountingSchema.count = 0
    view = ApiDocument.as_view(patterns=(path("api/v1/sample", Sample.as_view()),))
    answers = [view(RequestFactory().get("/api/openapi.json")) for _ in range(3)]
    assert CountingSchema.count == 1
    assert list(json.loads(answers[0].content)["paths"]) == ["/api/v1/sample"]
    assert len({answer.content for answer in answers}) == 1


def test_a_client_that_has_the_document_gets_304():
    response = get_document()
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/vnd.oai.openapi+json"
    repeated = get_document(If_None_Match=response.headers["ETag"])
    assert (repeated.status_code, repeated.content) == (304, b"")
    assert repeated.headers["ETag"] == response.headers["ETag"]


def test_another_document_has_another_etag(settings):
    before = get_document().headers["ETag"]
    settings.SITE_URL = "https://shop.example"
    assert get_document(If_None_Match=before).status_code == 200


def test_the_document_is_for_everyone():
    assert get_document(Authorization="Bearer expired").status_code == 200


@pytest.mark.parametrize("method", ["post", "put", "delete", "options"])
def test_the_document_can_only_be_read(method):
    response = getattr(Client(), method)("/api/openapi.json")
    assert (response.status_code, response.json()["code"]) == (405, "shop.method_not_allowed")
    assert response.headers["Allow"].startswith("GET, HEAD")
