"""Draws what `cargo bench --bench pairs -- growth` measured.   python benches/plot_growth.py GROWTH.json OUT.svg

Needs matplotlib. Points are medians, lines the fit of c·N·D² that the document holds.
"""

import json
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "growth"
import matplotlib.pyplot as plt

with open(sys.argv[1]) as file:
    document = json.load(file)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
for axis, fit in zip(axes, document["fits"]):
    rows = [row for row in document["rows"] if row["axis"] == fit["axis"]]
    at = [row[fit["axis"]] for row in rows]
    fitted = [fit["seconds_per_n_d2"] * row["samples"] * row["neurons"] ** 2 for row in rows]
    axis.loglog(at, fitted, color="0.6", label="c·N·D²")
    axis.loglog(at, [row["seconds"] for row in rows], "o", color="tab:blue", label="measured")
    fixed = {"samples": f"D = {rows[0]['neurons']:,}", "neurons": f"N = {rows[0]['samples']:,}"}[fit["axis"]]
    axis.set_xlabel({"samples": "samples N", "neurons": "neurons D"}[fit["axis"]] + f" ({fixed})")
    axis.set_title(f"within {100 * fit['largest_share_off']:.0f} % of the fit", fontsize=10)
    axis.set_xticks(at, [f"{value:,}" for value in at])
    axis.minorticks_off()
    axis.grid(True, which="both", alpha=0.2)
axes[0].set_ylabel("seconds")
axes[0].legend()
figure.tight_layout()
figure.savefig(sys.argv[2], metadata={"Date": None})
