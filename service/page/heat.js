// Draws heat maps and bars on canvases, in the colours of the style sheet.

import { byId, make } from "./dom.js";
import { plain, signed } from "./format.js";

const SHADES = 255; // of each sign

const COLOURS = ["ink", "muted", "line", "card", "for", "against", "neutral", "frame", "halo"];

// The browser computes the value of a custom property only if its type is registered.
for (const name of COLOURS) CSS.registerProperty({ name: `--${name}`, syntax: "<color>", inherits: true, initialValue: "transparent" });

/** The current colours, as [red, green, blue]. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`).match(/\d+/g).map(Number)]));
}

export const css = ([red, green, blue], alpha = 1) => `rgb(${red} ${green} ${blue} / ${alpha})`;

/** Prepare a canvas for its size on the screen. Coordinates are CSS pixels. */
export function prepare(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.imageSmoothingEnabled = false;
  return { context, width, height };
}

/** The 99.5th percentile of the absolute values: outliers would leave everything else pale. */
export function scaleOf(values) {
  const sizes = Float32Array.from(values, Math.abs).sort();
  return sizes[Math.floor(0.995 * (sizes.length - 1))] || sizes.at(-1) || 1;
}

/** Interpolate between the colour of zero and the colour of the sign. */
export function colour(colours, value, scale) {
  const strength = Math.min(1, Math.abs(value) / scale) ** 0.75;
  const end = value < 0 ? colours.against : colours.for;
  return colours.neutral.map((channel, place) => Math.round(channel + (end[place] - channel) * strength));
}

/** Draw a matrix, which is an array of columns, with one pixel per number. */
export function paint(matrix, scale, canvas = make("canvas")) {
  const image = new ImageData(matrix.length, matrix[0].length);
  const colours = palette();
  const shades = Array.from({ length: 2 * SHADES + 1 }, (_, shade) => [...colour(colours, shade - SHADES, SHADES), 255]);
  matrix.forEach((column, x) => column.forEach((value, y) => {
    const shade = Math.round(SHADES * Math.max(-1, Math.min(1, value / scale)));
    image.data.set(shades[shade + SHADES], 4 * (y * image.width + x));
  }));
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Draw a frame that is visible on any colour. */
export function frame(context, colours, x, y, width, height) {
  context.lineWidth = 4;
  context.strokeStyle = css(colours.halo, 0.85);
  context.strokeRect(x, y, width, height);
  context.lineWidth = 2;
  context.strokeStyle = css(colours.frame);
  context.strokeRect(x, y, width, height);
}

/** Draw bars from a common zero line. `shade(index)` returns the colour, and `marked` is the index of a bar to point at. */
export function bars(canvas, values, shade, marked = -1) {
  const { context, width, height } = prepare(canvas);
  const colours = palette();
  const top = Math.max(0, ...values);
  const bottom = Math.min(0, ...values);
  const room = height - 14;
  const y = (value) => 12 + (room * (top - value)) / (top - bottom || 1);
  const step = width / values.length;
  values.forEach((value, index) => {
    context.fillStyle = shade(index, colours);
    const from = y(Math.max(value, 0));
    context.fillRect(index * step, from, Math.max(step * 0.8, 0.75), Math.max(y(Math.min(value, 0)) - from, 0.5));
  });
  context.fillStyle = css(colours.line);
  context.fillRect(0, y(0), width, 1);
  if (marked >= 0) {
    const x = (marked + 0.4) * step;
    context.fillStyle = css(colours.frame);
    context.beginPath();
    context.moveTo(x, y(Math.max(values[marked], 0)) - 2);
    context.lineTo(x - 5, y(Math.max(values[marked], 0)) - 11);
    context.lineTo(x + 5, y(Math.max(values[marked], 0)) - 11);
    context.fill();
  }
}

/** Show the ends of a colour scale. */
export function showScale(id, scale) {
  byId(id).replaceChildren(plain(-scale, 2), make("i", { "aria-hidden": "true" }), signed(scale, 2));
}

/** Call `draw` when an element changes its size or the colour scheme changes. */
export function keepDrawn(element, draw) {
  new ResizeObserver(draw).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
