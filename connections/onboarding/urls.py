"""The addresses of the district's pages. None holds the id of a district, a person or a secret."""

from django.urls import path

from connections.onboarding import (
    asking,
    calls,
    changes,
    checking,
    credentials,
    entering,
    home,
    news,
    receipts,
    sending,
    specifications,
    standing,
    tracing,
)

app_name = "onboarding"

urlpatterns = [
    path("", home.home, name="home"),
    path("enter/", entering.enter, name="enter"),
    path("again/", entering.again, name="again"),
    path("check/", checking.check, name="check"),
    path("standing/", standing.standing, name="standing"),
    path("standing/link/", standing.link, name="standing-link"),
    path("standing/link/end/", standing.end_link, name="end-standing-link"),
    path("somebody/", tracing.somebody, name="somebody"),
    path("mails/", news.wish, name="mails"),
    path("leave/", entering.leave, name="leave"),
    path("connection/", credentials.ways, name="ways"),
    path("connection/new/sftp/", credentials.enter_settings, {"kind": "sftp"}, name="enter_sftp"),
    path("connection/new/rest/", credentials.enter_settings, {"kind": "rest"}, name="enter_rest"),
    path("connection/<uuid:uid>/", credentials.enter_settings, name="change_settings"),
    path("connection/<uuid:uid>/test/", credentials.test, name="test"),
    path("connection/<uuid:uid>/checkup/", credentials.checkup, name="checkup"),
    path("templates/", specifications.overview, name="templates"),
    path("templates/<slug:product>/<str:version>.zip", specifications.download, name="template-zip"),
    path("templates/<slug:file>/", specifications.file_page, name="template-file"),
    path("send/", sending.send, name="send"),
    path("send/begin/", sending.begun, name="begin"),
    path("send/<uuid:uid>/<int:offset>/", sending.piece, name="piece"),
    path("sent/", receipts.history, name="history"),
    path("sent/<slug:key>/", receipts.receipt, name="receipt"),
    path("sent/<slug:key>/file/", receipts.original, name="original"),
    path("sent/<slug:key>/findings/", receipts.findings, name="findings"),
    path("sent/<slug:key>/rows/", receipts.faulty_rows, name="faulty_rows"),
    path("sent/<slug:key>/changes/", changes.changes, name="changes"),
    path("sent/<slug:key>/changes/file/", changes.changes_file, name="changes_file"),
    path("sent/<slug:key>/answer/", asking.answer, name="answer"),
    path("call/", calls.page, name="call"),
    path("call/cancel/", calls.cancel_call, name="cancel_call"),
]
