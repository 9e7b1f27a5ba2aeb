// What a reader would complain about, found in the page that is open: every function returns the complaints.
(() => {
  const shown = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const brief = (element) => `<${element.tagName.toLowerCase()}${element.className.baseVal ?? element.className ? "." + (element.className.baseVal ?? element.className) : ""}> "${element.textContent.trim().slice(0, 40)}"`;

  // Elements that have text of their own, with the boxes of that text.
  const texts = () => [...document.body.querySelectorAll("*")].filter((element) => !element.closest("script, style, title, desc") && shown(element)).map((element) => {
    const boxes = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()).flatMap((node) => {
      const range = document.createRange();
      range.selectNodeContents(node);
      return [...range.getClientRects()].filter((box) => box.width > 0.5 && box.height > 0.5);
    });
    return { element, boxes };
  }).filter(({ boxes }) => boxes.length);

  // Text that leaves the page, or a box that hides what does not fit; what can be scrolled into view is fine.
  function overflowing() {
    const root = document.documentElement;
    const found = root.scrollWidth > root.clientWidth ? [`the page is ${root.scrollWidth} px wide in ${root.clientWidth} px`] : [];
    for (const { element, boxes } of texts()) {
      let room = { left: 0, right: root.clientWidth, top: -Infinity, bottom: Infinity };
      for (let above = element; above && above !== root; above = above.parentElement) {
        const { overflowX, overflowY, position } = getComputedStyle(above);
        const box = above.getBoundingClientRect();
        if (/auto|scroll/.test(overflowX + overflowY)) { room = null; break; }
        if (/hidden|clip/.test(overflowX) && above.tagName !== "svg") room = { left: Math.max(room.left, box.left), right: Math.min(room.right, box.right), top: Math.max(room.top, box.top), bottom: Math.min(room.bottom, box.bottom) };
        if (position === "fixed") break;
      }
      if (room && boxes.some((box) => box.left < room.left - 1.5 || box.right > room.right + 1.5 || box.top < room.top - 4 || box.bottom > room.bottom + 4)) found.push(`${brief(element)} is cut off`);
    }
    return found;
  }

  // Words, no longer than a column should be wide, that are broken from one line to the next.
  function broken() {
    return texts().flatMap(({ element }) => [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).flatMap((node) => {
      const range = document.createRange();
      return [...node.data.matchAll(/\p{L}{2,12}/gu)].filter(({ 0: word, index }) => {
        range.setStart(node, index);
        range.setEnd(node, index + word.length);
        const boxes = [...range.getClientRects()].filter((box) => box.width > 0.5);
        return boxes.some((box) => box.top > boxes[0].top + box.height / 2);
      }).map(([word]) => `"${word}" is broken in ${brief(element)}`);
    }));
  }

  // A colour as red, green, blue (0 to 255) and alpha, whatever form the style has it in.
  const dot = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  function channels(colour) {
    dot.clearRect(0, 0, 1, 1);
    dot.fillStyle = colour;
    dot.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = dot.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  }
  const over = (top, below) => [0, 1, 2].map((at) => top[at] * top[3] + below[at] * (1 - top[3])).concat(1);
  function behind(element) {
    const layers = [];
    for (let above = element; above; above = above.parentElement) {
      const layer = channels(getComputedStyle(above).backgroundColor);
      layers.unshift(layer);
      if (layer[3] === 1) break;
    }
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  }
  function luminance(colour) {
    const [r, g, b] = colour.slice(0, 3).map((channel) => channel / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  // WCAG 2.2: (L1 + 0.05) / (L2 + 0.05); 4.5 for text, 3 for large text (24 px, or bold from 18.66 px on).
  function contrasts() {
    return texts().map(({ element }) => {
      const style = getComputedStyle(element);
      const ground = behind(element);
      const ink = over(channels(element.closest("svg") ? style.fill : style.color), ground);
      const [light, dark] = [luminance(ink), luminance(ground)].sort((a, b) => b - a);
      const size = parseFloat(style.fontSize);
      const wanted = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
      return { element, ratio: (light + 0.05) / (dark + 0.05), wanted };
    });
  }
  const faint = () => contrasts().filter(({ ratio, wanted }) => ratio < wanted).map(({ element, ratio, wanted }) => `${brief(element)} has a contrast of ${ratio.toFixed(2)}, not ${wanted}`);

  // Text smaller than that on the screen; drawings are scaled.
  function tiny(least) {
    return texts().flatMap(({ element }) => {
      const scale = element.closest("svg") ? Math.hypot(element.getScreenCTM().a, element.getScreenCTM().b) : 1;
      const size = parseFloat(getComputedStyle(element).fontSize) * scale;
      return size < least ? [`${brief(element)} is ${size.toFixed(1)} px high`] : [];
    });
  }

  // Texts of one drawing that stand on each other by more than a hair.
  function overlapping() {
    return [...document.querySelectorAll("svg")].filter(shown).flatMap((drawing) => {
      const all = [...drawing.querySelectorAll("text")].map((element) => ({ element, box: element.getBoundingClientRect() }));
      return all.flatMap((one, at) => all.slice(at + 1).filter(({ box }) => {
        const across = Math.min(one.box.right, box.right) - Math.max(one.box.left, box.left);
        const along = Math.min(one.box.bottom, box.bottom) - Math.max(one.box.top, box.top);
        return across > 2 && along > Math.min(one.box.height, box.height) * 0.3;
      }).map((other) => `${brief(one.element)} stands on ${brief(other.element)} in "${drawing.getAttribute("aria-label")}"`));
    });
  }

  return { overflowing, broken, faint, tiny, overlapping, count: () => texts().length };
})()
