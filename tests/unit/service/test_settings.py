"""The environment as the program reads it."""

import re
from pathlib import Path

import pytest

from adavae.service.compose_variables import COMPOSE_VARIABLES
from adavae.service.settings import Settings, SettingsError, environment_of_child, load_settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(f"ADAVAE_{field.upper()}", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_defaults_need_no_environment(tmp_path: Path) -> None:
    settings = load_settings()
    assert (settings.backbone, settings.default_adapter, settings.device) == ("bundled", "yelp", "auto")
    assert (settings.dtype, settings.threads, settings.weight_format) == ("float32", 0, "float16")
    assert settings.data == tmp_path / ".local" / "share" / "adavae"


def test_every_field_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_variables_override_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADAVAE_DEVICE", "cpu")
    monkeypatch.setenv("ADAVAE_THREADS", "3")
    monkeypatch.setenv("ADAVAE_DATA", "~/sets")
    settings = load_settings()
    assert (settings.device, settings.threads, settings.data) == ("cpu", 3, tmp_path / "sets")


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAVAE_DEVICE", "")
    assert load_settings().device == "auto"


def test_users_data_goes_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert load_settings().data == tmp_path / "xdg" / "adavae"


def test_a_relative_xdg_directory_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert load_settings().data == tmp_path / ".local" / "share" / "adavae"


def test_a_misspelt_variable_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAVAE_DEVCIE", "cpu")
    with pytest.raises(SettingsError, match=r"ADAVAE_DEVCIE is not a setting: did you mean ADAVAE_DEVICE\?"):
        load_settings()


def test_variables_of_compose_are_no_settings_and_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: who exported the `.env` that README writes could start nothing."""
    root = Path(__file__).parents[3]
    files = [root / "docker-compose.yml", *(root / "docker").glob("compose.*.yml")]
    named = {name for file in files for name in re.findall(r"\$\{(ADAVAE_[A-Z_]+)", file.read_text(encoding="utf-8"))}
    settings = {f"ADAVAE_{field.upper()}" for field in Settings.model_fields}
    assert named - settings == COMPOSE_VARIABLES
    for name in COMPOSE_VARIABLES:
        monkeypatch.setenv(name, "1")
    load_settings()


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_no_number_is_without_end(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Regression: an endless time broke the start of the service, or a request."""
    monkeypatch.setenv("ADAVAE_SHUTDOWN_S", value)
    with pytest.raises(SettingsError, match=f"ADAVAE_SHUTDOWN_S is .*{value}"):
        load_settings()


def test_a_variable_unlike_any_setting_gets_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAVAE_XYZZY", "1")
    with pytest.raises(SettingsError, match=r"ADAVAE_XYZZY is not a setting: the settings are .*ADAVAE_WEIGHTS"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("ADAVAE_DEVICE", "tpu"), ("ADAVAE_THREADS", "-1"), ("ADAVAE_DTYPE", "int8"), ("ADAVAE_WEIGHT_FORMAT", "int4")],
)
def test_a_value_outside_its_rule_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"{variable} is '{value}': input should be"):
        load_settings()


def test_the_bundled_backbone_lies_in_the_weights_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(tmp_path))
    assert load_settings().backbone_source == str(tmp_path / "backbone")


def test_another_backbone_is_passed_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAVAE_BACKBONE", "openai-community/gpt2")
    assert load_settings().backbone_source == "openai-community/gpt2"


def test_the_password_of_a_file_goes_into_the_redis_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "password"
    secret.write_text("p@ss/word\n", encoding="utf-8")
    monkeypatch.setenv("ADAVAE_REDIS_PASSWORD_FILE", str(secret))
    monkeypatch.setenv("ADAVAE_REDIS_URL", "redis://cache:6379/2")
    url = load_settings().redis_url
    assert url is not None
    assert url.get_secret_value() == "redis://:p%40ss%2Fword@cache:6379/2"


def test_the_queue_is_where_the_cache_is_unless_it_is_told_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().queue_url is None
    monkeypatch.setenv("ADAVAE_REDIS_URL", "redis://cache:6379")
    url = load_settings().queue_url
    assert url is not None and url.get_secret_value() == "redis://cache:6379"
    (tmp_path / "password").write_text("word", encoding="utf-8")
    monkeypatch.setenv("ADAVAE_REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("ADAVAE_QUEUE_REDIS_URL", "redis://user@queue:6379")
    settings = load_settings()
    assert settings.queue_url is not None and settings.redis_url is not None
    assert settings.queue_url.get_secret_value() == "redis://user:word@queue:6379"
    assert settings.redis_url.get_secret_value() == "redis://:word@cache:6379"
    monkeypatch.delenv("ADAVAE_REDIS_URL")
    assert load_settings().redis_url is None
    monkeypatch.setenv("ADAVAE_QUEUE_REDIS_URL", "redis://:secret@queue")
    with pytest.raises(SettingsError, match="ADAVAE_QUEUE_REDIS_URL holds a password") as caught:
        load_settings()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "path", "message"),
    [
        (None, "there", "without ADAVAE_REDIS_URL or ADAVAE_QUEUE_REDIS_URL"),
        ("redis://cache", "missing", "cannot be read"),
        ("redis://:secret@cache", "there", "give one of them"),
        ("redis://secret@[::1", "there", "ADAVAE_REDIS_URL is no address"),
    ],
)
def test_a_redis_password_that_cannot_be_used_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, path: str, message: str
) -> None:
    (tmp_path / "there").write_text("word", encoding="utf-8")
    monkeypatch.setenv("ADAVAE_REDIS_PASSWORD_FILE", str(tmp_path / path))
    if url is not None:
        monkeypatch.setenv("ADAVAE_REDIS_URL", url)
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings()
    assert "secret" not in str(caught.value)


def test_a_training_process_gets_no_key_and_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADAVAE_API_KEYS", "ADAVAE_REDIS_URL", "AWS_SECRET_ACCESS_KEY", "DATABASE_URL"):
        monkeypatch.setenv(name, "secret")
    for name in ("PATH", "OMP_WAIT_POLICY", "CUDA_VISIBLE_DEVICES", "HF_HOME", "https_proxy"):
        monkeypatch.setenv(name, "needed")
    given = environment_of_child()
    assert "secret" not in given.values()
    assert list(given.values()).count("needed") == 5


def test_the_cache_secret_comes_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("a-secret-of-the-tests\n")
    monkeypatch.setenv("ADAVAE_CACHE_SECRET_FILE", str(path))
    assert load_settings().cache_secret.get_secret_value() == "a-secret-of-the-tests"
    monkeypatch.setenv("ADAVAE_CACHE_SECRET", "another-secret-of-the-tests")
    with pytest.raises(SettingsError, match="both set: give one of them"):
        load_settings()
    monkeypatch.delenv("ADAVAE_CACHE_SECRET_FILE")
    assert load_settings().cache_secret.get_secret_value() == "another-secret-of-the-tests"
    monkeypatch.setenv("ADAVAE_CACHE_SECRET", "short")
    with pytest.raises(SettingsError, match=r"has 5 characters, the least is 16: make one with `openssl") as caught:
        load_settings()
    assert "short" not in str(caught.value)
    monkeypatch.delenv("ADAVAE_CACHE_SECRET")
    monkeypatch.setenv("ADAVAE_CACHE_SECRET_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"ADAVAE_CACHE_SECRET_FILE is .*cannot be read"):
        load_settings()


def test_data_may_be_an_object_store_and_files_are_kept_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ADAVAE_DATA", "s3://bucket/sets")
    monkeypatch.setenv("ADAVAE_STORE_CACHE", str(tmp_path))
    settings = load_settings()
    assert str(settings.shared) == "s3://bucket/sets"
    assert settings.directory.parent == tmp_path
    assert settings.own_adapters == settings.directory / "adapters"
    passed_on = Settings(**settings.model_dump(mode="json", include={"data", "store_cache"}))
    assert (passed_on.shared, passed_on.directory) == (settings.shared, settings.directory)
    assert Settings(data=Path("s3://bucket/other"), store_cache=tmp_path).directory != settings.directory


def test_what_works_on_a_directory_alone_says_so(tmp_path: Path) -> None:
    Settings(data=tmp_path).need_directory("this")
    with pytest.raises(SettingsError, match=r"ADAVAE_DATA is 's3://bucket', and this needs a directory: .*--remote"):
        Settings(data=Path("s3://bucket")).need_directory("this")


def test_an_address_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAVAE_DATA", "hdfs://host/data")
    with pytest.raises(SettingsError, match=r"ADAVAE_DATA is .*no address of a kind"):
        load_settings()


def test_variables_of_a_store_go_only_to_children_that_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert "AWS_SECRET_ACCESS_KEY" not in environment_of_child()
    assert environment_of_child(uses_store=True)["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert not any(name.startswith("ADAVAE_") for name in environment_of_child(uses_store=True))
