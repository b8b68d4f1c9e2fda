// Makes the files of this folder from npm's world-atlas 2.0.2 by topojson-client 3.1.0:
//
//     npm install --no-save world-atlas@2.0.2 topojson-client@3.1.0 && node build.mjs
//
// A file is {"unit": n, "rings": [...]}: each ring one outline of land, [x, y, dx, dy, dx, dy, ...] in n-ths of a
// degree of longitude and latitude, the first point as it is and each further one as the step to it. `box` is where
// outlines were cut: west, south, east, north, in the same unit. Neighbours overlap, so that no seam is seen.
import { readFileSync, rmSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { feature } from "topojson-client";

const here = dirname(fileURLToPath(import.meta.url));
const DEGREES = 20, OVERLAP = 0.02, FINE = 500, COARSE = 50;

function outlines(scale) {
  const world = JSON.parse(readFileSync(createRequire(import.meta.url).resolve(`world-atlas/land-${scale}.json`)));
  const rings = feature(world, world.objects.land).features.flatMap(({ geometry }) =>
    geometry.type === "Polygon" ? geometry.coordinates : geometry.coordinates.flat(),
  );
  return rings.flatMap(flattened);
}

/** Return a closed ring on the globe as open ones on a map that ends at 180 degrees. */
function flattened(ring) {
  let turns = 0;
  const whole = ring.map(([lon, lat], index) => {
    const way = index === 0 ? 0 : lon - ring[index - 1][0];
    if (Math.abs(way) > 180) turns -= Math.sign(way);
    return [lon + 360 * turns, lat];
  });
  // One that goes around the world is closed beneath it, at the South Pole.
  if (turns !== 0) whole.push([whole.at(-1)[0], -90], [whole[0][0], -90]);
  else whole.pop();
  return [-360, 0, 360]
    .map((shift) => clipped(whole.map(([lon, lat]) => [lon + shift, lat]), [-180, -90, 180, 90]))
    .filter((piece) => piece.length > 2);
}

/** Return a closed ring cut to a box, by Sutherland and Hodgman: it may run along the box's edges. */
function clipped(ring, [west, south, east, north]) {
  const sides = [[0, west, 1], [0, east, -1], [1, south, 1], [1, north, -1]];
  for (const [axis, edge, sign] of sides) {
    const inside = (point) => (point[axis] - edge) * sign >= 0;
    ring = ring.flatMap((point, index) => {
      const before = ring.at(index - 1);
      if (inside(point) === inside(before)) return inside(point) ? [point] : [];
      const share = (edge - before[axis]) / (point[axis] - before[axis]);
      const cut = before.map((value, each) => (each === axis ? edge : value + share * (point[each] - value)));
      return inside(point) ? [cut, point] : [cut];
    });
  }
  return ring;
}

/** Return rings in whole steps, without what falls onto one place. */
function coded(rings, unit) {
  const found = [];
  for (const ring of rings) {
    const points = ring.map((point) => point.map((value) => Math.round(value * unit)));
    const kept = points.filter(([x, y], index) => index === 0 || x !== points[index - 1][0] || y !== points[index - 1][1]);
    if (kept.length > 1 && kept[0].every((value, axis) => value === kept.at(-1)[axis])) kept.pop();
    if (kept.length < 3) continue;
    found.push(kept.flatMap((point, index) => point.map((value, axis) => value - (index && kept[index - 1][axis]))));
  }
  return found;
}

const fine = outlines("10m");
const boxes = fine.map((ring) => [Math.min, Math.max].flatMap((end) => [0, 1].map((axis) => end(...ring.map((point) => point[axis])))));
rmSync(join(here, "land-10m"), { recursive: true, force: true });
mkdirSync(join(here, "land-10m"));
const cells = [];
for (let west = -180; west < 180; west += DEGREES)
  for (let south = -90; south < 90; south += DEGREES) {
    const box = [west - OVERLAP, south - OVERLAP, west + DEGREES + OVERLAP, south + DEGREES + OVERLAP];
    const near = fine.filter((_, index) => {
      const [left, bottom, right, top] = boxes[index];
      return left <= box[2] && right >= box[0] && bottom <= box[3] && top >= box[1];
    });
    const rings = coded(near.map((ring) => clipped(ring, box)).filter((ring) => ring.length > 2), FINE);
    if (rings.length === 0) continue;
    cells.push(`${west}_${south}`);
    writeFileSync(join(here, "land-10m", `${west}_${south}.json`), JSON.stringify({ unit: FINE, box: box.map((edge) => Math.round(edge * FINE)), rings }));
  }
const coarse = outlines("50m");
writeFileSync(join(here, "land-50m.json"), JSON.stringify({ unit: COARSE, box: [-180, -90, 180, 90].map((edge) => edge * COARSE), rings: coded(coarse, COARSE), degrees: DEGREES, cells }));
