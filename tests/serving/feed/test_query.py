"""Whose page a request is."""

from dataclasses import fields

import pytest

from serving.feed.query import Query


@pytest.mark.parametrize(
    ("subject", "account"), [("anna", "anna"), ("visitor:d-1", None), (None, None)]
)
def test_the_account_is_the_subject_unless_it_is_a_device(subject, account):
    query = Query(**{field.name: None for field in fields(Query)} | {"subject_id": subject})
    assert query.account_id == account
