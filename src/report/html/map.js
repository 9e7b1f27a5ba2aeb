
// The map of correlations: one pixel a cell, in the ink of the style sheet, the stronger the more opaque.
for (const figure of all("#correlation-map")) {
  const { bounds, neurons, layers, mean } = JSON.parse(figure.dataset.values);
  const groups = bounds.length - 1, canvas = figure.querySelector(".cells"), out = figure.querySelector("output");
  // The upper triangle, row by row.
  const at = (g, h) => mean[(g <= h ? g * (2 * groups - g + 1) / 2 + h - g : h * (2 * groups - h + 1) / 2 + g - h)];
  const pairs = () => Array.from({ length: groups }, (_, g) => Array.from({ length: groups - g }, (_, h) => [g, g + h])).flat();
  const most = pairs().reduce((most, [g, h]) => (g === h ? most : Math.max(most, at(g, h))), 1e-9);
  const paint = (drawn, strength) => {
    const ink = getComputedStyle(drawn).color.match(/[\d.]+/g).map(Number), image = new ImageData(drawn.width, drawn.height);
    for (let pixel = 0; pixel < drawn.width * drawn.height; pixel++) {
      const share = strength(pixel % drawn.width, Math.floor(pixel / drawn.width));
      image.data.set([ink[0], ink[1], ink[2], 255 * Math.min(Math.max(share, 0), 1)], 4 * pixel);
    }
    drawn.getContext("2d").putImageData(image, 0, 0);
  };
  const depths = layers.map((of) => of[1]), first = Math.min(...depths), last = Math.max(...depths);
  const draw = () => {
    paint(canvas, (g, h) => at(g, h) / most);
    paint(figure.querySelector(".depth:not(i)"), (g) => 0.1 + 0.9 * (depths[g] - first) / (last - first || 1));
  };
  draw();
  // The ink is another one on a dark screen, and on paper.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  matchMedia("print").addEventListener("change", draw);
  const name = (g) => {
    const [low, , high] = layers[g], size = bounds[g + 1] - bounds[g];
    const where = low === high ? "layer " + low : "layers " + low + "–" + high;
    return neurons ? "neuron " + neurons[g] + " (" + where + ")" : "group " + (g + 1) + " (" + size + (size === 1 ? " neuron of " : " neurons of ") + where + ")";
  };
  let here = [0, 0];
  const tell = (g, h) => {
    here = [g, h].map((of) => Math.min(Math.max(of, 0), groups - 1));
    out.textContent = "|r| " + at(...here).toFixed(3) + ": " + name(here[0]) + " with " + name(here[1]);
  };
  const leave = () => { out.textContent = ""; };
  canvas.addEventListener("pointermove", (event) => tell(Math.floor(event.offsetX / canvas.clientWidth * groups), Math.floor(event.offsetY / canvas.clientHeight * groups)));
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener("blur", leave);
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    tell(here[0] + step[0], here[1] + step[1]);
  });
  const column = neurons ? "neuron" : "group", id = (g) => (neurons ? neurons[g] : g + 1);
  offer(figure.querySelector(".csvs"), title_of(out), () => [[column, "other " + column, "mean |r|"], ...pairs().map(([g, h]) => [id(g), id(h), at(g, h)])]);
}
