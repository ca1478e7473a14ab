"""Makes flowers.parquet, a small Parquet file of each kind of column: python3 make_parquet.py (needs pandas and pyarrow)."""
import datetime

import pandas as pd

rows = 11
pd.DataFrame(
    {
        "name": [["rose", "lily", None][i % 3] for i in range(rows)],
        "petals": [5 + i % 3 for i in range(rows)],
        "size": [1.5 * i if i % 4 else None for i in range(rows)],
        "picked": [datetime.datetime(2024, 1 + i % 12, 11, 9, 30) for i in range(rows)],
        "day": [datetime.date(2024, 1 + i % 12, 5) for i in range(rows)],
        "wild": [i % 2 == 0 for i in range(rows)],
        "label": [["a", "b"][i % 2] for i in range(rows)],
    }
).to_parquet("flowers.parquet", index=False, compression="snappy")
