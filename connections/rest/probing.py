from connections.rest.api import Api


def steps(api: Api) -> None: ...
