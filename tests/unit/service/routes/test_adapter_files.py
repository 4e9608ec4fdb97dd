"""GET /adapters/{name}/card and /archive: what they send, to whom, and as what."""

from tests.unit.service.http_client import client_of

READER, ALL = "reader-of-the-test-keys", "all-of-the-test-keys"


def test_a_card_is_text_and_an_archive_a_file_with_a_name() -> None:
    with client_of() as client:
        card = client.get("/adapters/yelp/card")
        assert card.headers["content-type"] == "text/markdown; charset=utf-8"
        assert card.text.startswith("# yelp")
        archive = client.get("/adapters/yelp@0123456789ab/archive")
        assert archive.headers["content-type"] == "application/gzip"
        assert archive.headers["content-disposition"] == 'attachment; filename="yelp-0123456789ab.tar.gz"'
        assert {reply.headers["x-content-type-options"] for reply in (card, archive)} == {"nosniff"}


def test_a_set_that_is_not_there_has_neither() -> None:
    with client_of() as client:
        for path in ("/adapters/gone/card", "/adapters/gone/archive", '/adapters/"%0d%0ax/archive'):
            assert client.get(path).status_code == 404, path


def test_whole_sets_are_for_admins_and_cards_for_everyone_with_a_key() -> None:
    with client_of(api_keys=f"{READER}:infer {ALL}:infer,admin") as client:
        assert client.get("/adapters/yelp/card").status_code == 401
        assert client.get("/adapters/yelp/card", headers={"x-api-key": READER}).status_code == 200
        assert client.get("/adapters/yelp/archive", headers={"x-api-key": READER}).status_code == 403
        assert client.get("/adapters/yelp/archive", headers={"x-api-key": ALL}).status_code == 200
