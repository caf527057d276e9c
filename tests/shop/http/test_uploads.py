"""Uploads: files are refused before they are stored, but where a view accepts them, within its limits."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import JsonResponse
from django.test import Client
from django.urls import path

from shop.http.uploads import accept_uploads

LARGE = 2_700_000  # Django would write it to the disk


@accept_uploads(max_files=2, max_bytes=1_000)
def show_sizes(request):
    return JsonResponse({name: file.size for name, file in request.FILES.items()})


urlpatterns = [path("accepted", show_sizes)]
handler400 = "shop.http.problems.bad_request"


def build_file(size):
    return SimpleUploadedFile("statement.csv", b"x" * size)


@pytest.mark.parametrize("checks_csrf", [False, True], ids=["read by the view", "read before the view"])
@pytest.mark.parametrize("size", [1, LARGE])
def test_a_file_that_no_view_accepts_is_refused_and_not_stored(settings, size, checks_csrf):
    settings.FILE_UPLOAD_TEMP_DIR = "/missing"  # an attempt to write a file fails
    client = Client(enforce_csrf_checks=checks_csrf)
    client.get("/admin/login/")
    answer = client.post("/admin/login/", {"username": "ada@example.com", "file": build_file(size)})
    assert (answer.status_code, b"Files are not accepted here." in answer.content) == (400, True)


def test_a_form_without_files_may_be_multipart():
    answer = Client().post("/admin/login/", {"username": "ada@example.com", "password": ""})
    assert (answer.status_code, b"This field is required" in answer.content) == (200, True)


@pytest.mark.parametrize(
    ("sizes", "status"),
    [([1_000], 200), ([1_000, 10], 200), ([1_001], 413), ([10, 1_001], 413), ([LARGE], 413), ([1, 1, 1], 400)],
)
def test_files_are_accepted_within_the_limits_of_a_view(settings, sizes, status):
    settings.ROOT_URLCONF = __name__
    answer = Client().post("/accepted", {f"file{number}": build_file(size) for number, size in enumerate(sizes)})
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {f"file{number}": size for number, size in enumerate(sizes)}
