"""Public tables as people have them, and five splits of each. The table of `compare_sklearn.py` is made from them.

They come from copies inside PyPI packages, so nothing is downloaded: scikit-learn, and palmerpenguins, vega_datasets,
statsmodels and ISLP, whose files are read without importing them. Two are made by a formula. Text columns, missing values,
dates, identifiers and index columns stay in: what to do with them is the question.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd


@dataclass
class Table:
    """A table, and what a careful person would do with its columns before they give it to scikit-learn."""

    name: str
    rows: pd.DataFrame
    label: str
    classes: bool
    left_out: list = field(default_factory=list)  # identifiers, row numbers, free text
    dates: list = field(default_factory=list)  # used as year, month and day of the year


def bundled(package, *path):
    """The path of a file in an installed package, which is not imported and so needs none of its dependencies."""
    folder = Path(next(iter(find_spec(package).submodule_search_locations)))
    return folder.joinpath(*path)


def of_sklearn(name, loader, classes, **columns):
    bunch = loader()
    rows = pd.DataFrame(bunch.data, columns=bunch.feature_names)
    rows["target"] = bunch.target_names[bunch.target] if classes and name != "digits" else bunch.target
    return Table(name, rows, "target", classes, **columns)


def iris():
    from sklearn.datasets import load_iris

    table = of_sklearn("iris", load_iris, True, left_out=["Id"])
    table.rows.insert(0, "Id", np.arange(1, len(table.rows) + 1))  # sorted by class: a leak for who learns from it
    return table


def wine():
    from sklearn.datasets import load_wine

    return of_sklearn("wine", load_wine, True)


def breast_cancer():
    from sklearn.datasets import load_breast_cancer

    table = of_sklearn("breast cancer", load_breast_cancer, True, left_out=["id"])
    numbers = np.random.default_rng(7).choice(np.arange(8_670, 911_320_502), len(table.rows), replace=False)
    table.rows.insert(0, "id", numbers)  # as in the original, whose patient numbers scikit-learn leaves out
    return table


def digits():
    from sklearn.datasets import load_digits

    return of_sklearn("digits", load_digits, True)


def diabetes():
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    rows = pd.DataFrame(bunch.data, columns=bunch.feature_names)
    rows["target"] = bunch.target
    return Table("diabetes", rows, "target", False)


def penguins():
    return Table("penguins", pd.read_csv(bundled("palmerpenguins", "data", "penguins.csv")), "species", True)


def penguins_raw():
    rows = pd.read_csv(bundled("palmerpenguins", "data", "penguins-raw.csv"))
    left_out = ["Sample Number", "Individual ID", "Comments", "Region", "Stage"]
    return Table("raw penguins", rows, "Species", True, left_out=left_out, dates=["Date Egg"])


def cars():
    return pd.read_json(bundled("vega_datasets", "_data", "cars.json"), convert_dates=False)  # such as 1970-01-01


def mpg():
    return Table("mpg", cars(), "Miles_per_Gallon", False, left_out=["Name"], dates=["Year"])


def origin():
    return Table("origin of cars", cars(), "Origin", True, left_out=["Name"], dates=["Year"])


def fair():
    rows = pd.read_csv(bundled("statsmodels", "datasets", "fair", "fair.csv"))
    rows["affairs"] = np.where(rows["affairs"] > 0, "yes", "no")
    return Table("fair", rows, "affairs", True)


def imbalanced():
    from sklearn.datasets import make_classification

    values, target = make_classification(
        5_000, 12, n_informative=6, n_redundant=2, weights=[0.98], flip_y=0, class_sep=1.5, random_state=3
    )
    rows = pd.DataFrame(values.round(4), columns=[f"v{i}" for i in range(12)])
    rows["fraud"] = target
    return Table("2 % positive", rows, "fraud", True)


def carseats():
    return Table("car seats", pd.read_csv(bundled("ISLP", "data", "Carseats.csv")), "Sales", False)


def houses():
    """Prices by a formula: lognormal areas, districts as text, some values missing, an index column without a name."""
    random = np.random.default_rng(11)
    count = 2_000
    area = random.lognormal(4.7, 0.35, count).round(1)
    built = random.integers(1900, 2024, count)
    district = random.choice(["Centre", "Harbour", "North", "Old Town", "West"], count, p=[0.15, 0.1, 0.35, 0.1, 0.3])
    heating = random.choice(["gas", "heat pump", "oil"], count, p=[0.6, 0.25, 0.15])
    rooms = np.maximum(1, (area / 28 + random.normal(0, 0.7, count)).round())
    worth = {"Centre": 5_200, "Harbour": 4_600, "North": 2_900, "Old Town": 4_900, "West": 3_400}
    extra = {"gas": 0, "heat pump": 12_000, "oil": -9_000}
    price = area * np.vectorize(worth.get)(district) * (1 - 0.002 * (2023 - built)) + np.vectorize(extra.get)(heating)
    price = (price + 6_000 * rooms) * random.lognormal(0, 0.06, count)
    rows = pd.DataFrame(
        {"area": area, "rooms": rooms, "built": built.astype(float), "district": district, "heating": heating}
    )
    rows.loc[random.random(count) < 0.05, "built"] = np.nan
    rows.loc[random.random(count) < 0.04, "heating"] = np.nan
    rows["price"] = price.round(-2)
    rows.insert(0, "", np.arange(count))
    return Table("houses", rows, "price", False, left_out=[""])


MAKERS = (
    iris,
    wine,
    breast_cancer,
    digits,
    penguins,
    penguins_raw,
    origin,
    fair,
    imbalanced,
    diabetes,
    mpg,
    carseats,
    houses,
)


def tables():
    return [make() for make in MAKERS]


def split(table, seed, fraction=0.2):
    """The training and the test rows; each class has its share of both. Rows without a target are left out."""
    from sklearn.model_selection import train_test_split

    rows = table.rows[table.rows[table.label].notna()]
    stratify = rows[table.label] if table.classes else None
    return train_test_split(rows, test_size=fraction, random_state=seed, stratify=stratify)


def write(table, seed, folder):
    """Writes `train.csv` and `test.csv` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in zip(("train", "test"), split(table, seed)):
        rows.to_csv(folder / f"{name}.csv", index=False)
