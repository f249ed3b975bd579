"""Ids are those that @elizaos/core computes: the expected values were taken from it."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.elizaos import account_entity_ids, entity_id, string_to_uuid
from community_directory.errors import InvalidInput

NAMED_AGENT = "b850bc30-45f8-0041-a00a-83df46d8555d"
OTHER_AGENT = "12345678-1234-1234-1234-123456789abc"
SUPERGROUP = "-1001234567890"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", "aaf4c61d-dcc5-08a2-9abe-de0f3b482cd9"),
        ("", "da39a3ee-5e6b-0b0d-b255-bfef95601890"),
        ("ñandú 🍓 mango", "fa5e9799-b233-03dc-ad8c-6a93810b351e"),
        ("ñandú \ud83c\udf53 mango", "fa5e9799-b233-03dc-ad8c-6a93810b351e"),
        ("#247", "df9204e3-86a2-0a7d-b5a6-0bb0549eb1a8"),
        ("a b&c/d?e=f", "3594628b-1032-04eb-8376-34c5813ce080"),
        ("247", "b4ef7df1-7d3d-0747-a0cd-2a8fe98a173f"),
        ("100%", "c35a02a1-4edf-05e2-a3a6-7491f7e5fda6"),
        ("it's (fine)!*~", "f0ffa15d-311c-027f-a43b-70a4ce279942"),
        ("ABCDEF01-2345-6789-ABCD-EF0123456789", "ABCDEF01-2345-6789-ABCD-EF0123456789"),
        (1001, "dd019039-21ea-0494-9c26-a48f2cec24e0"),
        ("kukulcan", "9ce1e82c-ec4a-02ae-9726-7074243ce282"),
        ("kukulcán", "2e9b27d1-14be-0649-b01e-8687d6c64919"),
    ],
    ids=ascii,
)
def test_a_text_has_the_uuid_of_elizaos(text: str | int, expected: str) -> None:
    assert string_to_uuid(text) == expected


@pytest.mark.parametrize(
    ("agent", "seed", "expected"),
    [
        (NAMED_AGENT, 1001, "504a537a-480a-0488-8a95-259e71354ad5"),
        (NAMED_AGENT, "default:1001", "22460721-d6c6-036b-8bb8-e6d8836a1421"),
        (NAMED_AGENT, SUPERGROUP, "748989b6-305b-04ae-80b5-a70d3851cafa"),
        (NAMED_AGENT, f"{SUPERGROUP}-42", "5361d7bc-9206-07aa-ad53-421764a1e351"),
        (NAMED_AGENT, "4711", "baa4e824-114a-07d0-99d9-50d29d2eaaea"),
        (NAMED_AGENT, "1001:x", "6b34874e-c41c-0387-903a-de9f11758966"),
        (OTHER_AGENT, "1001", "03ca852e-8f94-00b1-a1c1-34f75773613b"),
        (OTHER_AGENT, "default:1001", "8b56eb14-20aa-0174-bc9f-d5c4966e376c"),
        (OTHER_AGENT, SUPERGROUP, "f292bbc9-38d9-0ee4-affc-d56b59130f06"),
        (OTHER_AGENT, f"{SUPERGROUP}-42", "365bc3b2-20cd-001a-a37d-e63e853e674b"),
        (OTHER_AGENT, 4711, "ce8f89a1-a7c7-0111-b9c0-681874b77a9f"),
        (OTHER_AGENT, "1001:x", "95f6a3f5-0505-030b-8f1e-ac6b2785e308"),
        (NAMED_AGENT, NAMED_AGENT, NAMED_AGENT),
        ("agent-1", "default:4242", "23966320-3e04-0df7-9c9e-9a2b6cca6913"),
        ("agent-1", "4242", "fd7230c2-0d7e-0f16-9a4a-dfabeb882c87"),
    ],
)
def test_an_entity_has_the_id_that_its_agent_computes(
    agent: str, seed: str | int, expected: str
) -> None:
    assert entity_id(agent, seed) == expected


def test_an_account_has_an_entity_id_for_each_seed_in_use() -> None:
    assert account_entity_ids(NAMED_AGENT, 1001) == [
        ("504a537a-480a-0488-8a95-259e71354ad5", "1001"),
        ("22460721-d6c6-036b-8bb8-e6d8836a1421", "default:1001"),
    ]


@pytest.mark.parametrize(
    "value",
    ["\ud83c", "a\udf53", "\udf53\ud83c", None, 1.5, True, b"a", 10**5000],
    ids=["first half", "second half", "swapped", "None", "float", "bool", "bytes", "huge"],
)
def test_a_value_for_which_elizaos_has_no_id_is_refused(value: object) -> None:
    for call in (
        lambda: string_to_uuid(value),  # type: ignore[arg-type]  # refused for that
        lambda: entity_id(OTHER_AGENT, value),  # type: ignore[arg-type]
        lambda: account_entity_ids(OTHER_AGENT, value),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInput):
            call()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_has_an_id_in_the_shape_of_a_uuid_without_a_version(text: str) -> None:
    made = UUID(string_to_uuid(f"{text}!"))
    assert (made.int >> 76 & 0xF, made.int >> 62 & 3) == (0, 2)
