import pytest

from qianmian.errors import ConfigError
from qianmian.trust.rules import TRUST, TrustRules, load_rules


def test_the_shipped_file_says_the_defaults():
    assert load_rules("any shop") == TrustRules()


def test_a_data_set_may_have_rules_of_its_own(tmp_path):
    (tmp_path / "default.yaml").write_text((TRUST / "default.yaml").read_text())
    (tmp_path / "kiosks.yaml").write_text("shared_device: null\n")
    assert load_rules("kiosks", tmp_path).shared_device is None
    assert load_rules("another", tmp_path).shared_device is not None


def test_faults_are_named_with_a_suggestion(tmp_path):
    (tmp_path / "default.yaml").write_text("burst:\n  max_action: 3\nclick_rate: {max_rate: 0}\n")
    with pytest.raises(ConfigError) as refused:
        load_rules("shop", tmp_path)
    assert "default.yaml:2: burst.max_action=3: unknown key" in str(refused.value)
    assert "did you mean 'max_actions'?" in str(refused.value)
    assert "click_rate.max_rate=0" in str(refused.value)


def test_a_file_of_another_ending_is_refused(tmp_path):
    (tmp_path / "shop.yml").write_text("shared_device: null\n")
    with pytest.raises(ConfigError, match=r"shop\.yml: expected a name that ends in \.yaml"):
        load_rules("shop", tmp_path)
