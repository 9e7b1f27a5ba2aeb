
// The explorer: one neuron of the list, chosen by the list, arrow keys, a link to #neuron-<id>, or the address.
for (const section of all("#explorer")) {
  const { thresholds, tasks: known, neurons } = JSON.parse(document.getElementById("neurons").textContent);
  const places = new Map(neurons.map((neuron, place) => [neuron.id, place]));
  const choice = document.getElementById("neuron"), card = document.getElementById("neuron-card");
  const absent = document.getElementById("neuron-absent");
  const number = (value, digits = 2) => (Math.abs(value) < 0.01 && value !== 0 ? value.toExponential(1) : value.toFixed(digits)).replace("-", "−");
  const signed = (value) => (value > 0 ? "+" : "") + number(value);
  const link = (id) => places.has(id) ? make("a", { href: "#neuron-" + id, textContent: id }) : String(id);
  const cell = (shown, sort) => {
    const made = make("td", { className: sort === undefined ? "" : "n" }, ...[shown].flat());
    if (sort !== undefined) made.dataset.sort = sort;
    return made;
  };
  function table(title, heads, rows, csv) {
    const head = make("tr", {}, ...heads.map((name) => make("th", { className: name.startsWith("*") ? "n" : "", textContent: name.replace("*", "") })));
    const made = make("table", { className: "sortable" }, make("thead", {}, head), make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells))));
    sorts(made);
    const buttons = make("div", { className: "csvs" });
    offer(buttons, title, csv || (() => table_rows(made)));
    return [make("h4", { textContent: title }), make("div", { className: "scroll" }, made), buttons];
  }
  const tint = (element, value, most) => {
    element.classList.add(value < 0 ? "down" : "up");
    element.style.setProperty("--v", Math.min(Math.abs(value) / most, 1) * 46 + "%");
    return element;
  };

  function facts(neuron) {
    const rows = [["Layer", neuron.layer], ["Unit", neuron.unit], ["Mean in train", number(neuron.mean, 3)], ["Standard deviation", number(neuron.sd, 3)], ["Smallest, largest", number(neuron.low, 3) + ", " + number(neuron.high, 3)]];
    return make("dl", { className: "facts" }, ...rows.map(([name, value]) => make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }))));
  }
  function ranks(neuron) {
    const names = [...new Set(known.flatMap((task) => task.rankings))];
    const rows = neuron.tasks.map((of, at) => [
      cell(known[at].name),
      ...names.map((name) => { const rank = of.ranks[known[at].rankings.indexOf(name)]; return cell(rank ? rank.toLocaleString("en") : "–", rank ?? ""); }),
      cell(of.salient.map((place) => known[at].classes[place]).join(", ") || "–"),
      cell(of.sets.map((place) => known[at].sets[place]).join("; ") || "none"),
    ]);
    return table("Rank of neuron " + neuron.id, ["task", ...names.map((name) => "*" + name), "salient for", "in the minimal sets"], rows);
  }
  function classes(neuron, of, at) {
    const task = known[at], width = (neuron.high - neuron.low) / (of.classes[0]?.[2].length || 1);
    const every = of.classes.map(([place, weight, counts]) => ({ name: task.classes[place], weight, counts }));
    if (of.rest) every.push({ name: "all other classes", counts: of.rest });
    const heaviest = Math.max(1e-9, ...every.map((row) => Math.abs(row.weight ?? 0)));
    const rows = every.map(({ name, weight, counts }) => {
      const samples = counts.reduce((sum, n) => sum + n, 0), most = Math.max(1, ...counts), peak = counts.indexOf(most);
      const bars = make("span", { className: "histogram" }, ...counts.map((n) => { const bar = make("i"); bar.style.height = n / most * 100 + "%"; return bar; }));
      bars.setAttribute("role", "img");
      bars.setAttribute("aria-label", "most samples (" + most + ") from " + number(neuron.low + peak * width, 3) + " to " + number(neuron.low + (peak + 1) * width, 3));
      const chip = weight === undefined ? "–" : tint(make("span", { className: "chip", textContent: signed(weight) }), weight, heaviest);
      return [cell(name), cell(samples ? bars : "no sample"), cell(samples.toLocaleString("en"), samples), cell(chip, weight ?? "")];
    });
    const csv = () => [["task", "class", "weight in the oracle", "from", "to", "samples of train"], ...every.flatMap((row) => row.counts.map((n, bin) => [task.name, row.name, row.weight, neuron.low + bin * width, neuron.low + (bin + 1) * width, n]))];
    return table("Neuron " + neuron.id + " by class, task " + task.name, ["class", "activations in train, " + number(neuron.low) + " to " + number(neuron.high), "*samples", "*weight in the oracle"], rows, csv);
  }
  function sentences(neuron) {
    if (!neuron.excerpts.length) return [];
    const most = Math.max(...neuron.excerpts.flatMap((excerpt) => excerpt.z.map(Math.abs)), 1e-9);
    const shown = neuron.excerpts.map(({ sentence, cut, words, z }) => {
      const peak = Math.max(...z.map(Math.abs));
      const tokens = words.flatMap((word, at) => {
        const token = tint(make("span", { className: "token", title: "z " + signed(z[at]), textContent: word }), z[at], most);
        if (Math.abs(z[at]) === peak) token.append(make("small", { textContent: " " + signed(z[at]) }));
        return [token, " "];
      });
      return make("p", { className: "excerpt" }, make("small", { textContent: "sentence " + sentence + " " }), cut[0] ? "… " : "", ...tokens, cut[1] ? "…" : "");
    });
    const buttons = make("div", { className: "csvs" });
    offer(buttons, "sentences of neuron " + neuron.id, () => [["sentence", "token", "z"], ...neuron.excerpts.flatMap((excerpt) => excerpt.words.map((word, at) => [excerpt.sentence, word, excerpt.z[at]]))]);
    return [
      make("h4", { textContent: "Sentences of train in which it is farthest from its mean" }), ...shown, buttons,
      make("p", { className: "hint", textContent: "z = (activation − mean) ÷ standard deviation, of each token under the pointer and at the strongest one. Blue: above the mean; orange and underlined: below." }),
    ];
  }
  function words(neuron) {
    if (!neuron.words.length) return [];
    const chips = neuron.words.map(([word, z, score, count]) => {
      const chip = tint(make("span", { className: "chip", title: count + " times in train" }, word + " ", make("small", { textContent: signed(z) })), z < 0 ? -score : score, 1.35);
      chip.dataset.exact = z;
      return [chip, " "];
    });
    return [make("h4", { textContent: "Words that it fires on" }), make("p", {}, ...chips.flat())];
  }
  function others(neuron) {
    const partners = neuron.partners.map(([id, layer, r]) => [cell(link(id), id), cell(layer, layer), cell(signed(r), r)]);
    const cuts = neuron.cuts.map(([size, representative, members], at) => {
      const rest = members.filter((id) => id !== neuron.id).flatMap((id) => [link(id), " "]);
      if (size > members.length) rest.push("… all " + size.toLocaleString("en") + " in tables/cluster_labels.csv");
      return [cell(thresholds[at], thresholds[at]), cell(size.toLocaleString("en"), size), cell(link(representative), representative), cell(size > 1 ? rest : "alone")];
    });
    const parts = [table("Neurons most correlated with " + neuron.id, ["*neuron", "*layer", "*r"], partners)];
    if (cuts.length) parts.push(table("Cluster of neuron " + neuron.id, ["*threshold", "*neurons", "*representative", "the others"], cuts));
    return make("div", { className: "figures" }, ...parts.map((part) => make("div", {}, ...part)));
  }

  function pick(place) {
    const neuron = neurons[place];
    choice.value = neuron.id;
    absent.textContent = "";
    card.dataset.neuron = neuron.id;
    const head = make("h3", { textContent: "Neuron " + neuron.id + ": layer " + neuron.layer + ", unit " + neuron.unit });
    const of_tasks = make("div", { className: "figures" }, ...neuron.tasks.map((of, at) => make("div", {}, ...classes(neuron, of, at))));
    card.replaceChildren(head, facts(neuron), ...ranks(neuron), ...words(neuron), ...sentences(neuron), of_tasks, others(neuron));
  }
  function go(place) {
    pick((place + neurons.length) % neurons.length);
    history.replaceState(null, "", "#neuron-" + card.dataset.neuron);
  }
  const step = (by) => go(places.get(+card.dataset.neuron) + by);
  choice.addEventListener("change", () => go(places.get(+choice.value)));
  document.getElementById("neuron-before").addEventListener("click", () => step(-1));
  document.getElementById("neuron-after").addEventListener("click", () => step(1));
  section.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.target.closest(".scroll") || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    step(by);
  });
  function follow() {
    const id = /^#neuron-(\d+)$/.exec(location.hash)?.[1];
    if (id === undefined) return false;
    section.scrollIntoView();
    if (places.has(+id)) {
      pick(places.get(+id));
      card.focus({ preventScroll: true });
    } else {
      absent.textContent = "Neuron " + id + " is not described here; neurosieve concepts --neurons " + id + " does.";
    }
    return true;
  }
  document.getElementById("no-script").remove();
  document.getElementById("neuron-picker").hidden = false;
  pick(0);
  addEventListener("hashchange", follow);
  follow();
}
