"""The addresses of the district's pages. None holds the id of a district, a person or a secret."""

from django.urls import path

from connections.onboarding import entering, home

app_name = "onboarding"

urlpatterns = [
    path("", home.home, name="home"),
    path("enter/", entering.enter, name="enter"),
    path("again/", entering.again, name="again"),
    path("leave/", entering.leave, name="leave"),
]
