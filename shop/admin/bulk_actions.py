"""Actions of the admin on many objects: confirmed if they need it, run as a batch job, reported once.

    @bulk_action("orders.cancel", "Cancel orders", permissions=("cancel",), done="cancel requested", confirmation=…)
    def request_cancel(task: Task) -> None:
        orders.request_cancel(UUID(task.key), actor=task.actor)

    class OrderAdmin(ContextAdmin):
        actions = (request_cancel,)

A job runs for ADMIN_BULK_SECONDS in the request, so that few objects are done when the page is shown. The engine does the
rest, and a page shows the progress and stops it on request.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import UUID, uuid5

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.text import capfirst

from shop import batch
from shop.admin.inputs import assert_keys_valid, check_texts, find_refusals, refuses_texts
from shop.admin.links import build_object_url
from shop.admin.submissions import TOKEN_FIELD, create_token, read_token
from shop.batch import BatchObject, Task
from shop.ids import uuid7
from shop.models import BatchJob

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

MAX_SHOWN = 200  # objects on the page that asks for confirmation, and failures on the page of a job
MAX_FAILURES_IN_MESSAGE = 5
ALREADY_STARTED = "This action was already started from that page. To run it again, open the list again."
_JOBS = UUID("7c3f0d1e-5a0b-5d43-9a55-2f6d0b7f4a11")  # namespace of the ids of jobs
AdminAction = Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse | None]


class Confirmation(NamedTuple):
    """The content of the page that asks for confirmation.

    columns: the headings of the list; `describe` returns the values of one object.
    sum_up: returns the lines above the list, such as totals.
    """

    question: str
    columns: tuple[str, ...]
    describe: Callable[[Any], Sequence[object]]
    sum_up: Callable[[Sequence[Any]], list[str]]


class BulkAction(NamedTuple):
    """An action on many objects. `name` is stored with its jobs."""

    name: str
    description: str
    done: str
    confirmation: Confirmation | None
    get_argument: Callable[[Any, HttpRequest], str]


def _get_no_argument(obj: Any, request: HttpRequest) -> str:
    return ""


def bulk_action(
    name: str,
    description: str,
    *,
    permissions: tuple[str, ...],
    done: str,
    atomic: bool = True,
    confirmation: Confirmation | None = None,
    get_argument: Callable[[Any, HttpRequest], str] = _get_no_argument,
) -> Callable[[Callable[[Task], object]], AdminAction]:
    """Declare an action of the admin by the function that processes one object, and register it as a batch action.

    permissions: any of them allows the action: `refund` asks `has_refund_permission` of the table.
    done: the result for each object that it succeeded for, such as "cancel requested".
    atomic: see `batch.batch_action`.
    get_argument: what the function receives as `task.argument`, such as the state of the object that is confirmed.
    """

    def declare(process: Callable[[Task], object]) -> AdminAction:
        batch.batch_action(name, atomic=atomic)(process)
        declared = BulkAction(name, description, done, confirmation, get_argument)

        @admin.action(description=description, permissions=permissions)
        def action(modeladmin: BulkActionsAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
            return modeladmin.begin_bulk_action(request, queryset, declared)

        action.__name__ = getattr(process, "__name__", name)  # the value in the admin's list of actions
        vars(action)["bulk_action"] = declared
        return action

    return declare


class BulkActionsAdmin(ModelAdmin):
    """Run actions of the admin as batch jobs, with a page for each job. An action without permissions is refused."""

    def __init__(self, model: type[Model], admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        site_wide = [action for _, action in admin_site.actions]
        for action in [*(self.actions or ()), *site_wide]:
            self._assert_has_permissions(action)

    def _assert_has_permissions(self, action: Any) -> None:
        """Raise ImproperlyConfigured for an action that Django would offer to everybody who sees the list."""
        found = self.get_action(action)
        function = found[0] if found else action
        if not getattr(function, "allowed_permissions", None):
            raise ImproperlyConfigured(f"{type(self).__name__}: the action {action} does not say its permissions.")

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_bulk"
        view, list_view = self.admin_site.admin_view(self.bulk_view), self.admin_site.admin_view(self.bulk_list_view)
        own = [path("bulk/<uuid:job_id>/", view, name=name), path("bulk/", list_view, name=f"{name}_list")]
        return [*own, *super().get_urls()]

    @refuses_texts
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list with a token, so that a double click starts one job; and a refused text at the field of its action."""
        shown: dict[str, Any] = {
            "title": capfirst(self.opts.verbose_name_plural),
            "submission": {TOKEN_FIELD: create_token()},
        }
        if request.method == "POST" and any(find_refusals(request.POST)):
            shown |= {"action_form": self._show_refusals(request)}
            request.method = "GET"
        return super().changelist_view(request, shown | (extra_context or {}))

    def _show_refusals(self, request: HttpRequest) -> forms.Form:
        """Return the form of an action with its errors. What is not at one of its fields is a message."""
        form: forms.Form = check_texts(self.action_form)(request.POST, auto_id=None)
        cast(forms.ChoiceField, form.fields["action"]).choices = self.get_action_choices(request)
        for text in form.non_field_errors():
            self.message_user(request, str(text), messages.ERROR)
        return form

    def response_action(  # type: ignore[override]  # its types have an argument that Django 5.2 does not have
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        """Run the chosen action on the selected rows. Raises UnknownSelection if one has no valid key."""
        assert_keys_valid(self.opts.pk, request.POST.getlist(ACTION_CHECKBOX_NAME))
        return super().response_action(request, queryset)

    @property
    def bulk_actions(self) -> dict[str, BulkAction]:
        """Return the bulk actions of this table by name."""
        declared = (getattr(action, "bulk_action", None) for action in self.actions or ())
        return {each.name: each for each in declared if each is not None}

    def begin_bulk_action(
        self, request: HttpRequest, queryset: QuerySet[Any], action: BulkAction
    ) -> HttpResponse | None:
        """Store the selection as a job. Ask for confirmation, or run it and report what it did."""
        selected = list(queryset[: batch.MAX_OBJECTS + 1])
        if len(selected) > batch.MAX_OBJECTS:
            self.message_user(request, f"Select at most {batch.MAX_OBJECTS} objects at once.", messages.ERROR)
            return None
        objects = [BatchObject(str(obj.pk), str(obj), action.get_argument(obj, request)) for obj in selected]
        job_id = _build_job_id(request, action, objects)
        is_new = batch.create_job(
            self.opts.app_label,
            action.name,
            actor=request.user.get_username(),
            objects=objects,
            start=action.confirmation is None,
            job_id=job_id,
        )
        if not is_new:
            self.message_user(request, ALREADY_STARTED, messages.INFO)
        if action.confirmation or not is_new:
            return HttpResponseRedirect(self._build_job_url(job_id))
        return self._run_and_report(request, job_id, action)

    def _build_job_url(self, job_id: UUID) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_bulk", args=[job_id])

    def _run_and_report(self, request: HttpRequest, job_id: UUID, action: BulkAction) -> HttpResponse | None:
        """Run the job for a short time. Show one message if it is finished, else its page."""
        batch.run_job(self.opts.app_label, job_id, seconds=settings.ADMIN_BULK_SECONDS)
        job = self._get_job(job_id)
        if job.finished_at is None:
            return HttpResponseRedirect(self._build_job_url(job_id))
        text = format_html('{} <a href="{}">Details</a>', _sum_up(job, action), self._build_job_url(job_id))
        level = messages.SUCCESS if not job.failed else messages.WARNING if job.failed < job.total else messages.ERROR
        self.message_user(request, text, level)
        return None

    def _get_job(self, job_id: UUID) -> BatchJob:
        job = batch.find_job(self.opts.app_label, job_id)
        if job is None or job.action not in self.bulk_actions:
            raise Http404
        return job

    def bulk_view(self, request: HttpRequest, job_id: UUID) -> HttpResponse:
        """Show a job: the question before it starts, its progress, its result. POST starts it, once, or stops it."""
        job = self._get_job(job_id)
        if not self.has_view_permission(request):
            raise PermissionDenied
        action = self.bulk_actions[job.action]
        if request.method == "POST":
            return self._stop(request, job, action) if "stop" in request.POST else self._confirm(request, job, action)
        if job.started_at is None:
            return self._show_question(request, job, action)
        failures = [
            (build_object_url(self.opts.app_label, self.opts.model_name or "", key), label, error)
            for key, label, error in job.failures[:MAX_SHOWN]
        ]
        shown = {
            "failures": failures,
            "summary": _sum_up(job, action),
            "back": self._get_list_url(),
            "can_stop": job.finished_at is None and job.stopped_at is None and self._may_run(request, action),
        }
        return self._render(request, job, action, "shop/admin_bulk_job.html", shown)

    def _get_list_url(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def _confirm(self, request: HttpRequest, job: BatchJob, action: BulkAction) -> HttpResponse:
        if not self._may_run(request, action) or job.actor != request.user.get_username():
            raise PermissionDenied
        if not batch.start_job(self.opts.app_label, job.id):
            self.message_user(
                request, "This action was already confirmed. It does not run a second time.", messages.INFO
            )
            return HttpResponseRedirect(self._build_job_url(job.id))
        response = self._run_and_report(request, job.id, action)
        return response or HttpResponseRedirect(self._get_list_url())

    def _stop(self, request: HttpRequest, job: BatchJob, action: BulkAction) -> HttpResponse:
        """Stop a running job. All staff who may run the action may stop it."""
        if not self._may_run(request, action):
            raise PermissionDenied
        if batch.stop_job(self.opts.app_label, job.id, actor=request.user.get_username()):
            self.message_user(request, "This bulk action is stopped. What it has processed stays as it is.")
        else:
            self.message_user(request, "This bulk action does not run any more.", messages.WARNING)
        return HttpResponseRedirect(self._build_job_url(job.id))

    def _may_run(self, request: HttpRequest, action: BulkAction) -> bool:
        return any(name in self.get_actions(request) for name in self._list_action_names(action))

    def _list_action_names(self, action: BulkAction) -> list[str]:
        return [
            cast(Callable[..., Any], each).__name__
            for each in self.actions or ()
            if getattr(each, "bulk_action", None) is action
        ]

    def _show_question(self, request: HttpRequest, job: BatchJob, action: BulkAction) -> HttpResponse:
        confirmation = cast(Confirmation, action.confirmation)  # a job without one is started when it is stored
        keys = [key for key, _, _ in job.objects_to_change]
        objects: list[Model] = list(self.get_queryset(request).filter(pk__in=keys))
        shown = {
            "question": confirmation.question,
            "columns": confirmation.columns,
            "rows": [confirmation.describe(obj) for obj in objects[:MAX_SHOWN]],
            "hidden": max(0, len(objects) - MAX_SHOWN),
            "totals": confirmation.sum_up(objects),
            "back": self._get_list_url(),
        }
        return self._render(request, job, action, "shop/admin_bulk_question.html", shown)

    def bulk_list_view(self, request: HttpRequest) -> HttpResponse:
        """List the latest jobs of this table."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        jobs = batch.list_jobs(self.opts.app_label, self.bulk_actions)
        rows = [(job, self.bulk_actions[job.action], self._build_job_url(job.id)) for job in jobs]
        context = {
            **self.admin_site.each_context(request),
            "title": f"Bulk actions on {self.opts.verbose_name_plural}",
            "rows": rows,
            "opts": self.opts,
        }
        return TemplateResponse(request, "shop/admin_bulk_list.html", context)

    def _render(
        self, request: HttpRequest, job: BatchJob, action: BulkAction, template: str, shown: dict[str, Any]
    ) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "title": action.description, "job": job, "opts": self.opts}
        return TemplateResponse(request, template, context | shown)


def _build_job_id(request: HttpRequest, action: BulkAction, objects: Sequence[BatchObject]) -> UUID:
    """Return the id of the job that a page asks for: the same for a double click, another one for another selection."""
    token = read_token(request)
    keys = " ".join(sorted(each.key for each in objects))
    return uuid5(_JOBS, f"{token} {request.user.get_username()} {action.name} {keys}") if token else uuid7()


def _sum_up(job: BatchJob, action: BulkAction) -> str:
    """Return one message about all objects of a job: how many are done, and the first failures."""
    done = job.position - job.failed
    parts = [_describe_done(job, done, action)]
    if job.failed:
        first = [f"{label}: {error.removesuffix('.')}" for _, label, error in job.failures[:MAX_FAILURES_IN_MESSAGE]]
        parts.append(f"{job.failed} failed: {'; '.join(first)}{'; …' if job.failed > len(first) else '.'}")
    if job.is_cut_short:
        parts.append(f"Stopped by {job.stopped_by}: {job.total - job.position} not processed.")
    return " ".join(parts)


def _describe_done(job: BatchJob, done: int, action: BulkAction) -> str:
    if job.total == 1 and done:
        return f"{job.objects_to_change[0][1]}: {action.done}."
    return f"{done} of {job.total}: {action.done}."
