"""Options of the test suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-data",
        action="store_true",
        help="write the texts of golden cases whose meaning holds, instead of comparing them",
    )
