"""Prints ε as Opacus' RDPAccountant computes it, for the test in src/privacy.rs.

Run:   pip install opacus==1.6.0 && python make_epsilon.py
"""

from opacus.accountants import RDPAccountant

CASES = [
    # σ, q, steps, δ
    (1.0, 0.01, 1, 1e-5),
    (1.0, 0.01, 1000, 1e-5),
    (1.1, 256 / 60000, 60 * 235, 1e-5),
    (0.7, 0.02, 500, 1e-6),
    (4.0, 0.2, 10000, 1e-5),
    (0.3, 0.05, 10, 1e-3),
    (2.0, 1.0, 50, 1e-5),
    (20.0, 0.5, 100, 1e-7),
    (0.5, 0.9, 3, 1e-2),
]

for noise, rate, steps, delta in CASES:
    accountant = RDPAccountant()
    accountant.history = [(noise, rate, steps)]
    print(f"        [{noise!r}, {rate!r}, {float(steps)!r}, {delta!r}, {float(accountant.get_epsilon(delta))!r}],")
