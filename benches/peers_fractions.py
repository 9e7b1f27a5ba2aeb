"""What fraction of the neurons suffices for 97 and 99 % of the oracle, and how few do where scikit-learn's orderings need more.

python benches/peers_fractions.py DATA NEUROSIEVE BASELINE.json [TASK] > RESULT.json

Two parts. `study`: `neurosieve study` with losses of 3 and 1 % of the oracle's dev accuracy, its own retraining (elastic net,
penalty chosen on dev), sizes by bisection; test accuracies with 95 % Wilson intervals. Its steps say what control tasks cost.

`orderings`: one judge for both sides. BASELINE.json holds the curves of orderings that scikit-learn made (weight mass of an
elastic-net and of a ridge probe, largest weight, probeless, ANOVA), each prefix retrained by scikit-learn's lbfgs, ridge, on
z-scored activations, at the penalty that dev chose for all neurons, l2 * max(k / D, 0.05): no penalty is chosen for a prefix.
neurosieve's orderings (`rank`; none has seen dev but by the penalty of the probe behind it) are retrained by the same
function at the same penalty. For every size of the baseline: the best dev accuracy of any of its orderings but random, and how
many neurons each of ours needs for at least that; ours are tried at sizes between as well, so compare at the same size (`curves`)
before counting neurons. The two sizes of more than a quarter of the neurons are left out: they take longest. `reproduced` is the largest difference between the baseline's own ANOVA
curve and the judge's of our ANOVA ordering. DATA holds train, dev and test.safetensors. Needs numpy, scikit-learn, safetensors.
"""

import json
import math
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression

warnings.filterwarnings("ignore")
DATA, NEUROSIEVE, BASELINE = sys.argv[1:4]
TASK = sys.argv[4] if len(sys.argv) > 4 else "fine"
PARTS = {part: f"{Path(DATA).resolve()}/{part}.safetensors" for part in ("train", "dev", "test")}
BETWEEN = (2, 4, 7, 9, 14, 17, 23, 35, 44, 67, 100, 115, 160, 220, 330)
RATIOS = "0.03, 0.01, 0.003, 0.001"  # shares of λ_max; the weakest of the default path, which takes longest, is left out
SELECTED = 50  # neurons that the greedy methods select; what stands behind them says nothing


def labels(file):
    own = f"labels.{TASK}"
    return file.get_tensor(own if own in file.keys() else "labels")


def load(part):
    with safe_open(PARTS[part], "numpy") as file:
        return file.get_tensor("activations").astype(np.float32), labels(file).astype(np.int64)


def run(*arguments):
    subprocess.run([NEUROSIEVE, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def processor():
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def study(folder):
    files = "\n".join(f'{part} = "{file}"' for part, file in PARTS.items())
    (folder / "study.toml").write_text(
        f'[data]\n{files}\ntasks = ["{TASK}"]\n[layers]\ndeltas = [0.03, 0.01]\n[combined]\ndeltas = []\n'
        '[minimal_set]\ndeltas = [0.03, 0.01]\nsearch = "bisection"\ndisjoint = 0\nbootstrap = 0\n'
        f"[probe]\nlambda_ratios = [{RATIOS}]\n"
    )
    started, before = time.perf_counter(), processor()
    run("study", folder / "study.toml", "-o", folder / "out", "--device", "cpu")
    seconds = dict(wall=time.perf_counter() - started, processor=processor() - before)
    results = json.loads((folder / "out" / "results.json").read_text())
    task, neurons = results["tasks"][0], results["data"]["neurons"]
    shown = ("ranking", "size", "dev_accuracy", "test_accuracy", "test_interval", "selectivity")
    sets = []
    for found in task["minimal_sets"]:
        row = {"share_of_the_oracle": round(1 - found["delta"], 4), "fraction": found["size"] / neurons}
        row |= {key: found[key] for key in shown}
        if row["selectivity"]:
            del row["selectivity"]["certificates"]
        row["difference"] = [found["against_oracle"][key] for key in ("difference", "interval", "p", "p_holm")]
        sets.append(row)
    oracle = {key: task["oracle"][key] for key in ("l1", "dev_accuracy", "test_accuracy", "test_interval")}
    random_sets = [{key: r[key] for key in ("ranking", "delta", "size", "draws", "p", "test")} for r in task["random_sets"]]
    control = {key: task["control"][key] for key in ("accuracy", "selectivity", "interval")}
    steps = {t["step"]: round(t["seconds"], 1) for t in results["timings"]}
    return dict(seconds=seconds, steps=steps, oracle=oracle, control=control, minimal_sets=sets, random_sets=random_sets)


def orderings(folder):
    """Ours, by name: the ordering and how far it may be read."""
    found = {}
    run("rank", PARTS["train"], "--task", TASK, "--method", "probeless,anova,gaussian,forward", "--select", SELECTED, "-o",
        folder / "free.json")
    for name, ranking in json.loads((folder / "free.json").read_text())["rankings"].items():
        found[name] = (ranking["order"], SELECTED if name in ("gaussian", "forward") else len(ranking["order"]))
    for ratios in ("0.03", RATIOS.replace(" ", "")):
        out, name = folder / "probe.safetensors", "dev's λ" if "," in ratios else f"λ at {ratios} λ_max"
        run("probe", PARTS["train"], "--task", TASK, "--dev", PARTS["dev"], "--ratios", ratios, "-o", out, "--device", "cpu")
        run("rank", PARTS["train"], "--task", TASK, "--method", "lca,largest-weight", "--probe", out, "-o", folder / "ranked.json")
        for method, ranking in json.loads((folder / "ranked.json").read_text())["rankings"].items():
            found[f"{method}, {name}"] = (ranking["order"], len(ranking["order"]))
    return found


class Judge:
    """The baseline's retraining."""

    def __init__(self, l2):
        data = {part: load(part) for part in PARTS}
        x = data["train"][0]
        mean, sd = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
        still = sd < 1e-4
        sd[still] = 1
        scaled = lambda x: np.where(still, 0, (x - mean) / sd).astype(np.float32)  # noqa: E731
        self.parts = {part: (scaled(x), y) for part, (x, y) in data.items()}
        self.l2 = l2

    def accuracies(self, neurons):
        x, y = self.parts["train"]
        l2 = self.l2 * max(len(neurons) / x.shape[1], 0.05)
        probe = LogisticRegression(C=1 / (2 * len(y) * l2), max_iter=300, tol=1e-4).fit(x[:, neurons], y)
        return [float(probe.score(x[:, neurons], y)) for x, y in (self.parts["dev"], self.parts["test"])]


def wilson(share, total, z=1.959963984540054):
    centre = (share * total + z * z / 2) / (total + z * z)
    half = z / (total + z * z) * math.sqrt(total * share * (1 - share) + z * z / 4)
    return [centre - half, centre + half]


def judged(folder):
    baseline = json.loads(Path(BASELINE).read_text())
    judge = Judge(baseline["full"]["l2"])
    curves = {name: {p["k"]: p["dev"] for p in curve.values()} for name, curve in baseline["curves"].items()}
    rivals = {name: curve for name, curve in curves.items() if name != "random"}
    sizes = sorted(set(max(rivals.values(), key=len)) - {806, 1344})
    best = {k: max((curve[k], name) for name, curve in rivals.items() if k in curve) for k in sizes}
    tests = len(judge.parts["test"][1])
    ours, points = {}, {}
    for name, (order, most) in orderings(folder).items():
        ours[name] = {k: judge.accuracies(order[:k]) for k in sorted({*sizes, *BETWEEN}) if k <= most}
        print(name, {k: round(v[0], 4) for k, v in ours[name].items()}, file=sys.stderr, flush=True)
        points[name] = [[k, *map(lambda a: round(a, 4), v)] for k, v in ours[name].items()]
    rows = []
    for k in sizes:
        needed = {}
        for name, curve in ours.items():
            enough = [size for size, (dev, _) in curve.items() if dev >= best[k][0]]
            if enough:
                needed[name] = min(enough)
        fewest = min(needed, key=needed.get, default=None)
        row = dict(baseline_neurons=k, baseline_dev=round(best[k][0], 4), baseline_ordering=best[k][1], needed=needed)
        if fewest:
            dev, test = ours[fewest][needed[fewest]]
            row |= dict(fewest=needed[fewest], by=fewest, dev=round(dev, 4), test=round(test, 4), test_interval=wilson(test, tests))
        rows.append(row)
    anova = [abs(curves["anova_F"][k] - dev) for k, (dev, _) in ours["anova"].items() if k in curves["anova_F"]]
    full = {key: baseline["full"][key] for key in ("l2", "dev", "test")}
    return dict(baseline_full=full, baseline_97_percent=baseline["min_fraction_97pct"], reproduced=max(anova), rows=rows,
                columns="neurons, dev, test", curves=points)


with tempfile.TemporaryDirectory() as scratch:
    document = dict(task=TASK, study=study(Path(scratch)))
    print(json.dumps(document, ensure_ascii=False), file=sys.stderr, flush=True)
    document["orderings"] = judged(Path(scratch))
json.dump(document, sys.stdout, indent=1, ensure_ascii=False)
