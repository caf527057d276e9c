"""URLs of payments."""

from django.urls import path

from contexts.payments.rest import payments, sandbox

urlpatterns = [
    path("payments/<uuid:payment_id>", payments.PaymentItem.as_view()),
    path("payments/<uuid:payment_id>/refunds", payments.PaymentRefunds.as_view()),
    path("staff/payments/<uuid:payment_id>/capture", payments.StaffCapture.as_view()),
    path("staff/payments/<uuid:payment_id>/void", payments.StaffVoid.as_view()),
    path("payments/sandbox/<slug:reference>/approve", sandbox.Approve.as_view()),
    path("payments/sandbox/<slug:reference>/decline", sandbox.Decline.as_view()),
    path("payments/sandbox/<slug:reference>/movements", sandbox.Movements.as_view()),
]
