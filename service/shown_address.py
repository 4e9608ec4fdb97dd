"""An address as messages may show it: without what lets somebody in."""


def shown_address(address: str) -> str:
    """``address``, which need not be a valid one, without a user, a password and what stands behind ``?``.

    What precedes an ``@`` is kept where it is no secret: the container of an object store, a repository's name.
    """
    scheme, has_scheme, rest = address.partition("://")
    if not has_scheme:
        scheme, rest = "", address
    if scheme.lower() == "file":
        return address
    rest = rest.partition("?")[0]
    authority = rest.partition("/")[0]
    _, has_port, port = authority.partition(":")
    if "@" not in authority and has_port and not port.isdecimal():
        authority = rest  # a password may hold a slash that should have been escaped
    user, _, _ = authority.rpartition("@")
    if scheme.lower() in ("http", "https") or ":" in user:
        rest = rest[len(user) :].removeprefix("@")
    return f"{scheme}{has_scheme}{rest}"
