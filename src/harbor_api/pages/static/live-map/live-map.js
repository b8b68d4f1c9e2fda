/**
 * A live map of a fleet, on nothing but the API: GET /api/v1/vessels, the stream behind it, tracks and `as_of`.
 *
 * To use it elsewhere copy this folder, api-key.js beside it, follow.js into it (/docs/following/follow.js), and the page
 * (/docs/live-map, as the browser got it). Then change in the page: the addresses of scripts and styles, `data-api` of the
 * body (the service; its operator names your origin in HARBOR_CORS_ORIGINS) and `data-coast` (vendor/natural-earth).
 * Nothing is fetched from anywhere else. In here change what stands below this, and `api-key.js` for where a key comes
 * from; colours are in live-map.css. The rest, from the top down, a part a heading:
 *
 *   what is known               the fleet, its clock, what a link holds
 *   how it is learnt            the list, then the stream, and what neither tells: readFleet, watch, take
 *   the line to the service     what is told of it: connection, showLine
 *   the past                    the fleet as of a moment, and on from there: goTo, advance
 *   what is drawn               land (a layer of Leaflet), vessels (another), the track of one
 *   the page around it          the list, the details, time, the link, keys, words; and what happens on which event
 */
/* global L */
import { follow } from "./follow.js";
import { forget, introduce, keep, pasted, recall } from "../api-key.js";

const API = document.body.dataset.api;
const COAST = document.body.dataset.coast;
const DAY_MS = 86_400_000;
/** How often what the stream does not tell is read: names, who was registered, retired or restored. */
const REREAD_MS = 120_000;
/** Of each vessel at most one position in so many seconds: no eye follows more. */
const MAX_RATE_S = 1;
const STATUS = { 0: "Under way by engine", 1: "At anchor", 2: "Not under command", 3: "Restricted in manoeuvring",
  4: "Constrained by draught", 5: "Moored", 6: "Aground", 7: "Fishing", 8: "Under way by sail", 11: "Towing astern",
  12: "Pushing or towing alongside", 14: "Search and rescue transmitter", 15: "Not defined" };
const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// --- What is known -------------------------------------------------------------------------------------------------

let key = null, me = null;
let fleet = new Map(); // as it is: id to vessel
let past = null; // as it was, in place of it, while a moment is looked at
let staleAfter_ms = 0;
const shown = () => past?.vessels ?? fleet;
const chosen = () => shown().get(state.vessel);

/** What a link to this view holds. `time` is in milliseconds, null for live. */
const state = { vessel: null, time: null, speed: 60, q: "", kind: "", only: "", map: null };

/** The service's clock: a browser's may be wrong by years. It moves on between answers by what does not jump. */
const clock = {
  base: null, at: 0,
  set(text) {
    if (text) [this.base, this.at] = [Date.parse(text), performance.now()];
  },
  now() {
    return this.base === null ? Date.now() : this.base + performance.now() - this.at;
  },
};
/** Now, as far as this key sees it: one with a delay sees the fleet as it was so long ago. */
const newest = () => clock.now() - (me?.delay_s ?? 0) * 1000;
/** The moment that is looked at. */
const moment = () => state.time ?? newest();

function vesselOf({ id, geometry, properties }) {
  const vessel = { ...properties, id, search: "" };
  vessel.search = [vessel.name, vessel.call_sign, vessel.imo, vessel.mmsi].join(" ").toLowerCase();
  vessel.stale_ms = vessel.stale_at === null ? -Infinity : Date.parse(vessel.stale_at);
  if (vessel.stale_at && vessel.recorded_at) staleAfter_ms = vessel.stale_ms - Date.parse(vessel.recorded_at);
  if (geometry) place(vessel, ...geometry.coordinates);
  return vessel;
}

/** Put a vessel at a place: `x` and `y` are Web Mercator, from 0 to 1. */
function place(vessel, lon, lat) {
  vessel.lon = lon;
  vessel.lat = lat;
  vessel.x = lon / 360 + 0.5;
  vessel.y = mercator(lat);
}

function mercator(lat) {
  const sine = Math.sin((Math.max(-85.05, Math.min(85.05, lat)) * Math.PI) / 180);
  return 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI);
}

const looks = (vessel, now) => (vessel.stale_ms <= now ? "stale" : vessel.sog === null || vessel.sog >= 0.5 ? "moving" : "stopped");

// --- How it is learnt ----------------------------------------------------------------------------------------------

/** GET: { body, headers }. Waits where the service asks for it; a key that does not hold is asked for again. */
async function get(path, { signal, tag } = {}) {
  for (;;) {
    const headers = { Authorization: `Bearer ${key}`, ...(tag && { "If-None-Match": tag }) };
    const answer = await fetch(API + path, { headers, cache: "no-store", signal });
    if (answer.status === 429 || answer.status === 503) {
      await pause(1000 * (Number(answer.headers.get("Retry-After")) || 5), signal);
      continue;
    }
    if (answer.ok || answer.status === 304) clock.set(answer.headers.get("Harbor-Now"));
    if (answer.status === 304) return { headers: answer.headers };
    const body = await answer.json();
    if (answer.ok) return { body, headers: answer.headers };
    if (answer.status === 401) signOut(ENDED);
    throw Object.assign(new Error(body.detail ?? body.title), { status: answer.status });
  }
}

/** Read a list of vessels to its end: { found, cursor, tag }; null where it is still what `tag` names. */
async function readVessels(path, { signal, tag } = {}) {
  const first = await get(path, { signal, tag });
  if (!first.body) return null;
  const found = new Map();
  for (let { body } = first; ; ({ body } = await get(body.links.next.replace(/^https?:\/\/[^/]+/, ""), { signal }))) {
    for (const feature of body.features) found.set(feature.id, vesselOf(feature));
    // The tag is that of the first page: of a longer list it says nothing.
    if (!body.links.next) return { found, cursor: first.headers.get("Harbor-Cursor"), tag: body === first.body ? first.headers.get("ETag") : null };
  }
}

function pause(delay_ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, delay_ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

let fleetTag = null;

/** Read the whole fleet; the cursor from which the stream goes on behind it. With `isAnew` nothing is kept of what was here. */
async function readFleet(signal, { ifChanged = false, isAnew = false } = {}) {
  const began = performance.now();
  const read = await readVessels("/api/v1/vessels", { signal, tag: ifChanged ? fleetTag : null });
  lastRead = began;
  if (!read) return null;
  const { found, cursor, tag } = read;
  fleetTag = tag;
  // The stream may have been faster than the list: who is newer here stays where she is, and who was learnt of meanwhile.
  for (const [id, vessel] of isAnew ? [] : fleet) {
    const listed = found.get(id);
    if (listed && vessel.recorded_at > (listed.recorded_at ?? "")) found.set(id, Object.assign(listed, Object.fromEntries(MOTION.map((name) => [name, vessel[name]]))));
    if (!listed && vessel.learnt > began) found.set(id, vessel);
  }
  const gone = !past && fleet.has(state.vessel) && !found.has(state.vessel) && fleet.get(state.vessel);
  fleet = found;
  line.newest = [...fleet.values()].reduce((latest, { received_at }) => Math.max(latest, Date.parse(received_at ?? 0)), 0) || null;
  membersChanged();
  if (gone) {
    select(null);
    tell(`${gone.name} is not in the fleet any more: she was retired, or this key may not see her now.`);
  }
  return cursor;
}

/** What a position changes of a vessel; all else of her is told by the list only. */
const MOTION = ["recorded_at", "received_at", "sog", "cog", "heading", "nav_status", "accuracy_m", "late", "released", "lat", "lon", "x", "y", "stale_ms"];

let lastRead = 0;

/** Read now and then what the stream does not tell. */
function readAgain() {
  if (!key || document.hidden || performance.now() - lastRead < REREAD_MS || line.state !== "open") return;
  lastRead = performance.now();
  readFleet(following.signal, { ifChanged: true }).catch(() => {});
  if (state.time === null) track.read();
}

let following = null;

/** Show the fleet, and follow it until somebody signs out. */
async function watch() {
  following?.abort();
  following = new AbortController();
  const { signal } = following;
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      connection("connecting");
      const cursor = await readFleet(signal);
      if (!state.map) showAll();
      failures = 0;
      await follow({
        url: API, key, cursor, signal,
        maxRate: MAX_RATE_S,
        onHello: (hello) => heard(hello),
        onHeartbeat: (beat) => heard(beat),
        onPosition: (item) => take(item),
        // What this key may see is another now.
        onBye: ({ reason }) => reason === "key_changed" && signIn(key),
        onReset: async (reset) => {
          // What is newer here may be something that a service which was restored has never heard of.
          const cursor = await readFleet(signal, { isAnew: true });
          const kept = reset.oldest_at ? ` The service keeps them from ${utc(Date.parse(reset.oldest_at))} on.` : "";
          tell(`Updates were lost.${kept} The fleet was read again.`);
          track.read();
          return cursor;
        },
        onState: connection,
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401) return signOut(ENDED);
      if (error.status === 403) return connection("refused", { error });
      const delay_s = Math.min(30, 2 ** failures);
      connection("waiting", { error, delay_s });
      await pause(delay_s * 1000, signal).catch(() => {});
    }
  }
}

function heard({ now, newest_received_at, heartbeat_s }) {
  clock.set(now);
  if (newest_received_at !== undefined) line.newest = newest_received_at && Date.parse(newest_received_at);
  if (heartbeat_s) line.heartbeat_s = heartbeat_s;
}

/** Take an item of the order. One that comes twice, or late, changes nothing. */
function take(item) {
  const vessel = fleet.get(item.vessel_id);
  line.newest = Math.max(line.newest ?? 0, Date.parse(item.received_at ?? 0));
  if (!vessel || (item.op === "delete" && vessel.recorded_at === item.recorded_at)) return askAbout(item.vessel_id);
  if (item.op === "delete" || vessel.recorded_at > item.recorded_at) return;
  if (!staleAfter_ms) return askAbout(item.vessel_id);
  for (const name of MOTION) if (name in item) vessel[name] = item[name];
  vessel.stale_ms = Date.parse(item.recorded_at) + staleAfter_ms;
  place(vessel, item.lon, item.lat);
  if (vessel.id === state.vessel && !past) track.extend(vessel);
  if (!past) redraw();
}

// Vessels that are new, or whose latest fix was withdrawn: what is true of them now only the service knows.
const asked = new Set();
function askAbout(id) {
  if (asked.size === 0) setTimeout(answerAll, 500);
  asked.add(id);
}
async function answerAll() {
  const ids = [...asked];
  asked.clear();
  try {
    for (let first = 0; first < ids.length; first += 100) {
      const some = ids.slice(first, first + 100);
      const { found } = await readVessels(`/api/v1/vessels?vessel_id=${some}`, { signal: following?.signal });
      for (const id of some) fleet.delete(id);
      for (const [id, vessel] of found) fleet.set(id, Object.assign(vessel, { learnt: performance.now() }));
    }
    membersChanged();
  } catch {
    // The stream's own trouble is told; with it these come again.
  }
}

// --- The line to the service: what is told of it -------------------------------------------------------------------

const line = { state: "out", error: null, until: 0, newest: null, heartbeat_s: 20, told: null, toldUntil: 0 };

function connection(name, { error, delay_s } = {}) {
  // A new connection that follows an orderly end of the last one is nothing to tell of.
  const isOrderly = name === "waiting" && !error && delay_s < 2;
  if (isOrderly || (name === "connecting" && line.error)) return;
  Object.assign(line, { state: name, error: error ?? null, until: performance.now() + (delay_s ?? 0) * 1000 });
  refresh();
}

function tell(text) {
  Object.assign(line, { told: text, toldUntil: performance.now() + 60_000 });
  refresh();
}

function showLine() {
  const seconds = Math.max(0, Math.ceil((line.until - performance.now()) / 1000));
  const since = line.newest ? ` Positions are those of ${utc(line.newest)}.` : "";
  const why = line.error?.status ? `: ${line.error.message}` : "";
  const banners = {
    offline: `This device is offline.${since} It connects again by itself.`,
    quiet: `Nothing has come from the service for a heartbeat.${since} If it stays silent, the connection is made anew.`,
    silent: `The stream has fallen silent.${since} Connecting again.`,
    waiting: `The stream was cut${why}.${since} Connecting again`,
    refused: `This key may not follow the fleet${why}.`,
  };
  const name = key && !navigator.onLine ? "offline" : line.state;
  const isTold = !banners[name] && performance.now() < line.toldUntil;
  const text = banners[name] ?? (isTold ? line.told : "");
  $("banner").hidden = !text;
  $("banner").dataset.kind = isTold ? "news" : "trouble";
  write($("banner-text"), text);
  write($("banner-count"), name === "waiting" && seconds ? `in ${seconds} s` : "");
  write($("banner-button"), isTold ? "Dismiss" : name === "waiting" ? "Try now" : "");
  $("banner-button").hidden = !isTold && name !== "waiting";
  const age = line.newest && `, newest position ${ago(clock.now() - line.newest)}`;
  const live = state.time === null ? `Live${age ?? ""}` : "Replay; live updates go on";
  write($("sight"), sight());
  $("sight").hidden = !key || !sight();
  const words = { out: "Not signed in", connecting: "Connecting…", open: live };
  write($("state-text"), words[name] ?? "Not connected");
  $("state").dataset.kind = name === "open" ? "good" : name === "connecting" || name === "out" ? "idle" : "bad";
}

/** What bounds this key, as far as the map looks other for it. */
function sight() {
  const { delay_s, coordinate_decimals: decimals, vessel_ids } = me ?? {};
  const parts = [
    delay_s && `the fleet as it was ${ago(delay_s * 1000)}`,
    Number.isInteger(decimals) && `places to ${decimals} ${decimals === 1 ? "decimal" : "decimals"} and times in steps`,
    vessel_ids && `${vessel_ids.length} ${vessel_ids.length === 1 ? "vessel" : "vessels"} only`,
  ].filter(Boolean);
  return parts.length ? `This key sees ${parts.join(", ")}.` : "";
}

// --- The past: the fleet as of a moment, and on from there ---------------------------------------------------------

const replay = { isPlaying: false, isLoading: false, from: null, next: null, asking: null };

async function fleetAsOf(time, signal) {
  const { found } = await readVessels(`/api/v1/vessels?as_of=${new Date(time).toISOString()}`, { signal });
  return { time, vessels: found };
}

/** Look at a moment, or at what is now: null. Of several asked for the last one holds. */
async function goTo(time, { isSettled = true } = {}) {
  replay.asking?.abort();
  if (time !== null && time >= latest()) time = null;
  state.time = time;
  // Nothing moves on from a moment that is not looked at any more.
  replay.from = replay.next = null;
  if (time === null) {
    past = null;
    replay.isPlaying = replay.isLoading = false;
    say("Live.");
  } else {
    const { signal } = (replay.asking = new AbortController());
    replay.isLoading = true;
    showTime();
    try {
      if (!isSettled) await pause(400, signal);
      past = replay.from = await fleetAsOf(time, signal);
    } catch (error) {
      if (signal.aborted) return;
      // What is shown is what was shown before.
      tell(`The fleet of ${utc(time)} could not be read: ${error.message}`);
      [state.time, replay.from] = [past?.time ?? null, past];
    }
    replay.isLoading = false;
    if (![...shown().values()].some(({ lat }) => lat !== undefined)) tell(`Nothing is known of where a vessel was at ${utc(time)}.`);
    else say(state.time === null ? "Live." : `The fleet as of ${utc(state.time)}.`);
  }
  membersChanged();
  track.read();
  save();
}

const latest = () => newest() - 2000;
/** How far one frame is from the next: as many as a key may ask for, and none where no tracker reports. */
const stride_ms = () => Math.max(10_000, state.speed * Math.max(1000, 120_000 / (me?.rate_limit.limit ?? 60)));

/** Move on by what has passed since the last picture; between two frames vessels move evenly. */
function advance(passed_ms) {
  const { from } = replay;
  if (!from) return;
  if (!replay.next || replay.next.after !== from) {
    const next = (replay.next = { after: from, frame: null });
    const target = Math.min(from.time + stride_ms(), latest());
    replay.asking = new AbortController();
    fleetAsOf(target, replay.asking.signal).then(
      (frame) => (next.frame = frame),
      () => pause(2000).then(() => replay.next === next && (replay.next = null)),
    );
  }
  const to = replay.next.frame;
  const time = state.time + Math.min(passed_ms, 250) * state.speed;
  if (time >= latest()) return goTo(null);
  if (to && time >= to.time) {
    past = replay.from = to;
    state.time = to.time;
    membersChanged();
    return;
  }
  // Where the next frame is not there yet time stands still.
  if (!to) return;
  state.time = time;
  const share = (time - from.time) / (to.time - from.time);
  for (const vessel of from.vessels.values()) {
    const then = to.vessels.get(vessel.id);
    if (!then || then.x === undefined || vessel.x === undefined) continue;
    vessel.start ??= [vessel.x, vessel.y];
    let way = then.x - vessel.start[0];
    if (Math.abs(way) > 0.5) way -= Math.sign(way);
    vessel.x = vessel.start[0] + way * share;
    vessel.y = vessel.start[1] + (then.y - vessel.start[1]) * share;
    vessel.lon = (vessel.x - Math.floor(vessel.x) - 0.5) * 360;
    vessel.lat = (Math.atan(Math.sinh(Math.PI * (1 - 2 * vessel.y))) * 180) / Math.PI;
  }
}

let lastFrame = 0;
function play(frame_ms) {
  if (!replay.isPlaying) return;
  // A tab in the background gets no frames, and time stands still in it.
  if (lastFrame) advance(frame_ms - lastFrame);
  lastFrame = frame_ms;
  redraw();
  requestAnimationFrame(play);
}

async function setPlaying(isPlaying) {
  if (isPlaying && state.time === null) await goTo(latest() - 3_600_000);
  replay.isPlaying = isPlaying && state.time !== null;
  lastFrame = 0;
  if (replay.isPlaying) requestAnimationFrame(play);
  else if (state.time !== null) track.read();
  refresh();
  save();
}

// --- What is drawn: land -------------------------------------------------------------------------------------------

const coasts = new Map();

/** Read a file of outlines: { fill, coast } as paths in units of the world, and what else it tells. */
function coast(name) {
  if (!coasts.has(name)) {
    coasts.set(name, fetch(`${COAST}/${name}`).then((answer) => answer.json()).then(({ unit, box, rings, ...more }) => {
      const fill = new Path2D(), coast = new Path2D();
      for (const ring of rings) {
        let x = 0, y = 0, wasOnEdge = true, before;
        for (let index = 0; index < ring.length; index += 2) {
          [before, x, y] = [[x, y], x + ring[index], y + ring[index + 1]];
          const point = [x / unit / 360 + 0.5, mercator(y / unit)];
          // Where a ring was cut it runs along the edge of its file: that is no coast.
          const isOnEdge = (x === before[0] && (x === box[0] || x === box[2] || Math.abs(x) === 180 * unit)) || (y === before[1] && (y === box[1] || y === box[3]));
          if (index === 0) fill.moveTo(...point);
          else fill.lineTo(...point);
          if (index === 0 || isOnEdge) coast.moveTo(...point);
          else coast.lineTo(...point);
        }
        fill.closePath();
      }
      return { fill, coast, ...more };
    }).catch((error) => {
      coasts.delete(name);
      throw error;
    }));
  }
  return coasts.get(name);
}

async function coastsOf({ x, y, z }) {
  const world = await coast("land-50m.json");
  if (z < 6) return [world];
  const [west, east] = [x, x + 1].map((edge) => (edge / 2 ** z) * 360 - 180);
  const [south, north] = [y + 1, y].map((edge) => (Math.atan(Math.sinh(Math.PI * (1 - (2 * edge) / 2 ** z))) * 180) / Math.PI);
  const step = world.degrees, wanted = [];
  for (let left = Math.floor((west + 180) / step) * step - 180; left < east; left += step)
    for (let bottom = Math.floor((south + 90) / step) * step - 90; bottom < north; bottom += step)
      if (world.cells.includes(`${left}_${bottom}`))
        wanted.push(coast(`land-10m/${left}_${bottom}.json`));
  // Where the finer one cannot be read the coarse one is better than none.
  return Promise.all(wanted).catch(() => [world]);
}

const Land = L.GridLayer.extend({
  createTile(coords, done) {
    const tile = document.createElement("canvas"), ratio = devicePixelRatio || 1;
    tile.width = tile.height = 256 * ratio;
    const wrapped = this._wrapCoords(coords), size = 256 * ratio * 2 ** coords.z;
    coastsOf(wrapped).then((found) => {
      const context = tile.getContext("2d");
      context.setTransform(size, 0, 0, size, -wrapped.x * 256 * ratio, -wrapped.y * 256 * ratio);
      context.fillStyle = colour("--land");
      context.strokeStyle = colour("--coast");
      context.lineWidth = ratio / size;
      context.lineJoin = "round";
      for (const each of found) context.fill(each.fill, "evenodd");
      for (const each of found) context.stroke(each.coast);
      done(null, tile);
    }, (error) => done(error, tile));
    return tile;
  },
});

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// --- What is drawn: vessels ----------------------------------------------------------------------------------------

/**
 * All vessels on one canvas that moves with the map. To draw ten thousand takes longer than a frame has: so the canvas
 * is wider than the map, and drawn anew only when the map has left it, or what is shown has changed.
 */
const Vessels = L.Layer.extend({
  MARGIN: 160,
  onAdd(map) {
    this.canvas = L.DomUtil.create("canvas", "vessels leaflet-zoom-hide", map.getPane("vessels"));
    this.pictures = new Map();
    this.points = [];
    this.drawn = 0;
    map.on("moveend zoomend viewreset resize", redraw);
    map.on("move", () => {
      const { x, y } = map.containerPointToLayerPoint([0, 0]).subtract(this.corner ?? [1e6, 0]);
      if (Math.max(Math.abs(x - this.MARGIN), Math.abs(y - this.MARGIN)) > this.MARGIN) redraw();
    });
    redraw();
  },
  draw() {
    const began = performance.now(), map = this._map, margin = this.MARGIN, ratio = devicePixelRatio || 1;
    const { x: width, y: height } = map.getSize().add([2 * margin, 2 * margin]);
    this.corner = map.containerPointToLayerPoint([-margin, -margin]);
    L.DomUtil.setPosition(this.canvas, this.corner);
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      Object.assign(this.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
      Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    }
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const world = 256 * 2 ** map.getZoom(), corner = map.project(map.getCenter()).subtract([width / 2, height / 2]);
    const now = moment(), size = map.getZoom() >= 6 ? 26 : map.getZoom() >= 4 ? 16 : 11;
    const layers = { moving: [], stopped: [], stale: [] };
    for (const vessel of shown().values()) {
      if (vessel.x === undefined || vessel.isHidden) continue;
      const y = vessel.y * world - corner.y;
      if (y < -20 || y > height + 20) continue;
      // The world repeats itself from west to east.
      for (let x = ((((vessel.x * world - corner.x + 20) % world) + world) % world) - 20; x < width + 20; x += world)
        layers[looks(vessel, now)].push({ vessel, x, y });
    }
    this.points = [...layers.stale, ...layers.stopped, ...layers.moving];
    // Of many that lie on the same few pixels one is seen; who moves comes before who does not.
    const seen = this.points.length > 2000 ? new Uint8Array(Math.ceil((width + 40) / 4) * Math.ceil((height + 40) / 4)) : null;
    const columns = Math.ceil((width + 40) / 4);
    const wanted = [];
    for (const look of ["moving", "stopped", "stale"])
      for (const point of layers[look]) {
        const cell = ((point.y + 20) >> 2) * columns + ((point.x + 20) >> 2);
        if (seen?.[cell]) continue;
        if (seen) seen[cell] = 1;
        wanted.push(this.picture(look, point.vessel, size, ratio), point);
      }
    for (let index = wanted.length - 2; index >= 0; index -= 2) {
      const picture = wanted[index], { x, y } = wanted[index + 1];
      context.drawImage(picture, (x * ratio - picture.width / 2) | 0, (y * ratio - picture.height / 2) | 0);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.ring(context, state.vessel, 3);
    if (document.activeElement === $("list")) this.ring(context, list.active, 1.5);
    this.label(context, width, height);
    context.setTransform(1, 0, 0, 1, 0, 0);
    this.drawn++;
    took_ms = performance.now() - began;
  },
  picture(look, { heading, cog }, size, ratio) {
    const direction = look === "stopped" && heading === null ? null : (heading ?? cog);
    const step = direction === null ? -1 : Math.round(direction / 5) % 72;
    const name = { stale: 0, stopped: 200, moving: 400 }[look] + 1000 * size + step;
    if (!this.pictures.has(name)) {
      const picture = document.createElement("canvas");
      picture.width = picture.height = size * ratio;
      const context = picture.getContext("2d");
      context.scale(ratio * (size / 26), ratio * (size / 26));
      context.translate(13, 13);
      context.beginPath();
      if (step < 0 || look === "stopped") context.arc(0, 0, 5, 0, 7);
      else {
        context.rotate((step * 5 * Math.PI) / 180);
        for (const [x, y] of [[0, -11], [5.5, 8], [0, 5], [-5.5, 8]]) context.lineTo(x, y);
      }
      context.closePath();
      context.lineJoin = "round";
      context.lineWidth = 4;
      context.strokeStyle = colour("--halo");
      context.stroke();
      context.fillStyle = colour(`--${look}-fill`);
      context.fill();
      context.lineWidth = look === "stale" ? 1.5 : 1;
      context.strokeStyle = colour(`--${look}`);
      if (look === "stale") context.setLineDash([2.5, 2]);
      context.stroke();
      this.pictures.set(name, picture);
    }
    return this.pictures.get(name);
  },
  ring(context, id, width) {
    const point = id !== null && this.points.find(({ vessel }) => vessel.id === id);
    if (!point) return;
    context.beginPath();
    context.arc(point.x, point.y, 17, 0, 7);
    context.lineWidth = width;
    context.strokeStyle = colour("--chosen");
    context.stroke();
  },
  /** Name those that matter, and all where there is room. */
  label(context, width, height) {
    const matter = new Set([state.vessel, hovered, document.activeElement === $("list") ? list.active : null]);
    const isRoom = this._map.getZoom() >= 7 && this.points.length <= 150;
    const taken = [];
    context.font = "600 12px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    const first = this.points.filter(({ vessel }) => matter.has(vessel.id));
    const rest = isRoom ? this.points.filter(({ vessel }) => !matter.has(vessel.id)).reverse() : [];
    for (const [index, { vessel, x, y }] of [...first, ...rest].entries()) {
      if (x < 0 || y < 0 || x > width || y > height) continue;
      const length = context.measureText(vessel.name).width;
      const left = x + 20 + length > width ? x - 18 - length : x + 18;
      const box = [left - 4, y - 9, left + length + 4, y + 9];
      if (index >= first.length && taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) continue;
      taken.push(box);
      context.lineWidth = 3;
      context.strokeStyle = colour("--halo");
      context.strokeText(vessel.name, left, y);
      context.fillStyle = colour("--text");
      context.fillText(vessel.name, left, y);
    }
  },
  /** Return the vessel next to a point of the screen, if one is near. */
  at({ x, y }) {
    let best = null, least = 18 ** 2;
    const moved = this._map.containerPointToLayerPoint([x, y]).subtract(this.corner);
    for (const point of this.points) {
      const distance = (point.x - moved.x) ** 2 + (point.y - moved.y) ** 2;
      if (distance <= least) [best, least] = [point.vessel, distance];
    }
    return best;
  },
  recolour() {
    this.pictures.clear();
    redraw();
  },
});

let isDirty = false, hovered = null, took_ms = 0;
/** Draw once, however often it is asked for, and for no more than a third of the time; a tab in the background never. */
function redraw() {
  if (isDirty || document.hidden) return;
  isDirty = true;
  setTimeout(requestAnimationFrame, took_ms > 8 ? 2 * took_ms : 0, () => {
    isDirty = false;
    if (!document.hidden) vessels.draw();
  });
}

// --- What is drawn: the track of the one that is chosen -------------------------------------------------------------

const track = {
  layer: null, tail: null, asking: null, found: null, middle: 0,
  clear() {
    this.asking?.abort();
    this.found = null;
    this.draw();
    write($("track-state"), "");
  },
  /** Read the last day before the moment that is looked at; gaps are dashed. */
  async read() {
    const id = state.vessel;
    if (this.found?.id !== id) this.clear();
    this.asking?.abort();
    if (id === null || !key) return;
    const { signal } = (this.asking = new AbortController());
    const end = state.time ?? clock.now() + 60_000;
    const window = `from=${new Date(end - DAY_MS).toISOString()}&to=${new Date(end).toISOString()}`;
    try {
      const { body } = await get(`/api/v1/vessels/${id}/track?${window}&max_points=2000`, { signal });
      this.found = { ...body, id };
      this.draw();
      const gaps = body.features.filter(({ properties }) => properties.kind !== "track").length;
      write($("track-state"), body.points_in === 0 ? "No fix in the last 24 hours." :
        `Track of 24 hours: ${body.points_in.toLocaleString("en")} ${body.points_in === 1 ? "fix" : "fixes"}${gaps ? `, ${gaps} ${gaps === 1 ? "gap" : "gaps"} (dashed)` : ""}.`);
    } catch (error) {
      if (!signal.aborted) write($("track-state"), `The track could not be read: ${error.message}`);
    }
  },
  /** Draw it in the world that is looked at: what was cut at 180 degrees is whole again. */
  draw() {
    this.layer?.remove();
    this.tail?.remove();
    this.layer = this.tail = null;
    if (!this.found) return;
    this.middle = map.getCenter().lng;
    this.layer = L.geoJSON(this.found, {
      interactive: false,
      coordsToLatLng: ([lon, lat]) => this.near(lat, lon),
      style: ({ properties }) => ({ className: `track ${properties.kind}` }),
      pointToLayer: (_, latlng) => L.circleMarker(latlng, { radius: 3, className: "track point", interactive: false }),
    }).addTo(map);
    const vessel = chosen();
    this.tail = L.polyline(vessel?.lat === undefined ? [] : [this.near(vessel.lat, vessel.lon)], { className: "track", interactive: false }).addTo(map);
  },
  near(lat, lon) {
    return L.latLng(lat, lon + 360 * Math.round((this.middle - lon) / 360));
  },
  extend({ lat, lon }) {
    this.tail?.addLatLng(this.near(lat, lon));
  },
};

// --- The page around it: the list ----------------------------------------------------------------------------------

const ROW = 56;
/** A list of any length: only the rows that can be seen are there. */
const list = { order: [], ids: [], active: null, rows: new Map() };
const collator = new Intl.Collator("en", { sensitivity: "base", numeric: true });

function membersChanged() {
  list.order = [...shown().values()].sort((one, other) => collator.compare(one.name, other.name));
  const kinds = [...new Set(list.order.map(({ kind }) => kind).filter(Boolean))].sort();
  const wanted = ["", ...kinds];
  if (state.kind && !kinds.includes(state.kind)) wanted.push(state.kind);
  const select = $("kind");
  if ([...select.options].map((option) => option.value).join() !== wanted.join()) {
    select.replaceChildren(...wanted.map((kind) => new Option(kind ? capital(kind) : "All kinds", kind)));
    select.value = state.kind;
  }
  refresh();
}

/** Bring all that is told up to date: once a second, and whenever something was done. */
function refresh() {
  if (document.hidden) return;
  const now = moment(), q = state.q.trim().toLowerCase(), counts = { moving: 0, stopped: 0, stale: 0 };
  list.ids = [];
  for (const vessel of list.order) {
    const look = looks(vessel, now);
    vessel.isHidden = !((!q || vessel.search.includes(q)) && (!state.kind || vessel.kind === state.kind) && (!state.only || look === state.only));
    if (vessel.isHidden) continue;
    counts[look]++;
    list.ids.push(vessel.id);
  }
  const total = list.ids.length;
  write($("count"), key ? `${total.toLocaleString("en")} ${total === 1 ? "vessel" : "vessels"}` : "");
  for (const [look, count] of Object.entries(counts)) write(document.querySelector(`#legend .n-${look}`), count.toLocaleString("en"));
  showList(now);
  showDetails(now);
  showTime();
  showLine();
  redraw();
}

function showList(now = moment()) {
  const box = $("list"), first = Math.max(0, Math.floor(box.scrollTop / ROW) - 4);
  const some = list.ids.slice(first, first + Math.ceil(box.clientHeight / ROW) + 8);
  if (!list.ids.includes(list.active)) list.active = null;
  const sill = (list.sill ??= box.appendChild(Object.assign(document.createElement("div"), { className: "sill" })));
  sill.style.height = `${list.ids.length * ROW}px`;
  for (const [id, row] of list.rows) if (!some.includes(id)) (row.remove(), list.rows.delete(id));
  for (const [index, id] of some.entries()) {
    const vessel = shown().get(id), look = looks(vessel, now);
    if (!list.rows.has(id)) {
      const row = $("row").content.firstElementChild.cloneNode(true);
      row.id = `vessel-${id}`;
      row.dataset.vessel = id;
      list.rows.set(id, box.appendChild(row));
    }
    const row = list.rows.get(id), [glyph, name, about, speed, age] = row.children;
    row.style.top = `${(first + index) * ROW}px`;
    glyph.className = `glyph ${look}`;
    write(name, vessel.name);
    write(about, [vessel.kind && capital(vessel.kind), vessel.flag].filter(Boolean).join(" · "));
    write(speed, vessel.sog === null || vessel.sog === undefined ? "" : `${vessel.sog.toFixed(1)} kn`);
    write(age, vessel.recorded_at ? (look === "stale" ? `Stale, ${ago(now - Date.parse(vessel.recorded_at))}` : ago(now - Date.parse(vessel.recorded_at))) : "Never seen");
    attribute(row, "aria-selected", String(id === state.vessel));
    attribute(row, "aria-setsize", list.ids.length);
    attribute(row, "aria-posinset", first + index + 1);
    row.classList.toggle("active", id === list.active);
  }
  attribute(box, "aria-activedescendant", list.active === null ? "" : `vessel-${list.active}`);
}

function activate(index) {
  if (list.ids.length === 0) return;
  const bounded = Math.max(0, Math.min(list.ids.length - 1, index)), box = $("list");
  list.active = list.ids[bounded];
  if (bounded * ROW < box.scrollTop) box.scrollTop = bounded * ROW;
  if ((bounded + 1) * ROW > box.scrollTop + box.clientHeight) box.scrollTop = (bounded + 1) * ROW - box.clientHeight;
  showList();
  redraw();
}

// --- The page around it: details, time, link -----------------------------------------------------------------------

function select(id, { isToPan = false, isToFocus = false } = {}) {
  state.vessel = id;
  if (id !== null) list.active = id;
  refresh();
  track.read();
  save();
  const vessel = chosen();
  if (!vessel) return;
  if (isToPan) locate(vessel);
  if (isToFocus) $("details-name").focus();
  const motion = vessel.sog === null ? "" : `, ${vessel.sog} knots`;
  say(`${vessel.name}, ${looks(vessel, moment())}${motion}, ${vessel.recorded_at ? ago(moment() - Date.parse(vessel.recorded_at)) : "never seen"}.`);
}

function locate(vessel) {
  if (vessel.lat !== undefined) map.setView([vessel.lat, vessel.lon], Math.max(map.getZoom(), 8), { animate: !calm.matches });
}

function showDetails(now) {
  const vessel = chosen();
  $("details").hidden = !vessel;
  document.body.classList.toggle("has-details", Boolean(vessel));
  if (!vessel) return;
  write($("details-name"), vessel.name);
  const look = looks(vessel, now);
  write($("details-kind"), [vessel.kind && capital(vessel.kind), vessel.flag, { moving: "under way", stopped: "stopped", stale: "stale" }[look]].filter(Boolean).join(" · "));
  const recorded = Date.parse(vessel.recorded_at), delay_s = Math.max(0, (Date.parse(vessel.received_at) - recorded) / 1000);
  const size = [vessel.length_m, vessel.beam_m].filter((each) => each !== null).join(" × ");
  const facts = {
    Speed: vessel.sog === null ? null : `${vessel.sog.toFixed(1)} kn`,
    Course: degrees(vessel.cog),
    Heading: degrees(vessel.heading),
    Status: STATUS[vessel.nav_status] ?? null,
    "Last fix": vessel.recorded_at && `${ago(now - recorded)} · ${utc(recorded)}`,
    Position: vessel.lat === undefined ? null : `${angle(vessel.lat, "N", "S")} ${angle(vessel.lon, "E", "W")}`,
    Source: source(vessel, delay_s),
    Accuracy: vessel.accuracy_m === null ? null : `within ${vessel.accuracy_m} m`,
    IMO: vessel.imo, MMSI: vessel.mmsi, "Call sign": vessel.call_sign,
    Size: size && `${size} m`,
    Draught: vessel.draught_m === null ? null : `${vessel.draught_m} m`,
  };
  const rows = $("facts");
  for (const [name, value] of Object.entries(facts)) {
    let row = rows.querySelector(`[data-fact="${name}"]`);
    if (!row) {
      row = rows.appendChild(document.createElement("div"));
      row.dataset.fact = name;
      row.append(Object.assign(document.createElement("dt"), { textContent: name }), document.createElement("dd"));
    }
    write(row.lastChild, value ?? "–");
    // How she moves is always told; of the rest, what is known.
    row.hidden = !value && !["Speed", "Course", "Heading"].includes(name);
  }
}

/** On what a vessel's place rests. */
function source(vessel, delay_s) {
  if (!vessel.recorded_at) return "No fix yet";
  if (vessel.basis === "interpolated" && vessel.between) return `Between her fixes of ${vessel.between.map((each) => utc(Date.parse(each))).join(" and ").replace(" UTC", "")}`;
  if (vessel.basis === "last_known") return "Her last known fix";
  const how = vessel.released ? "Fix released by the operator" : vessel.late ? "Late fix of her tracker" : "Fix of her tracker";
  return `${how}, received after ${delay_s < 10 ? delay_s.toFixed(1) : Math.round(delay_s)} s`;
}

function showTime() {
  const slider = $("slider"), now = clock.now();
  const end = state.time === null || state.time > now - DAY_MS ? now : state.time + DAY_MS / 2;
  slider.min = Math.floor((end - DAY_MS) / 1000);
  slider.max = Math.floor(end / 1000);
  if (document.activeElement !== slider || state.time === null || replay.isPlaying) slider.value = Math.floor((state.time ?? now) / 1000);
  slider.style.setProperty("--share", `${((slider.value - slider.min) / (slider.max - slider.min)) * 100}%`);
  const text = state.time === null ? "Live" : utc(state.time);
  write($("moment"), state.time === null ? utc(moment()) : replay.isLoading ? `${text}…` : text);
  attribute($("time"), "aria-busy", replay.isLoading);
  attribute(slider, "aria-valuetext", text);
  attribute($("go-live"), "aria-pressed", String(state.time === null));
  attribute($("play"), "aria-label", replay.isPlaying ? "Pause" : state.time === null ? "Replay the last hour" : "Play");
  $("play").classList.toggle("playing", replay.isPlaying);
  document.body.classList.toggle("in-the-past", state.time !== null);
  $("speed").value = state.speed;
}

let saving = null;
/** Write the view into the address, at most a few times a second. */
function save() {
  saving ??= setTimeout(() => {
    saving = null;
    const { lat, lng } = map.getCenter().wrap();
    const parts = { map: `${map.getZoom()}/${lat.toFixed(4)}/${lng.toFixed(4)}`, vessel: state.vessel,
      time: state.time === null ? null : new Date(state.time).toISOString().replace(/\.\d+/, ""),
      speed: state.speed === 60 ? null : state.speed, q: state.q, kind: state.kind, only: state.only };
    const text = Object.entries(parts).filter(([, value]) => value).map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2F", "/").replaceAll("%3A", ":")}`);
    history.replaceState(null, "", `#${text.join("&")}`);
  }, 300);
}

/** Show what the address says. */
function load() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const [zoom, lat, lon] = (parts.get("map") ?? "").split("/").map(Number);
  if ([zoom, lat, lon].every(Number.isFinite) && Math.abs(lat) <= 90) {
    state.map = true;
    map.setView([lat, lon], zoom, { animate: false });
  }
  const time = Date.parse(parts.get("time") ?? "");
  Object.assign(state, { vessel: Number(parts.get("vessel")) || null, q: parts.get("q") ?? "", kind: parts.get("kind") ?? "", only: parts.get("only") ?? "" });
  const speed = Number(parts.get("speed"));
  state.speed = [...$("speed").options].some((option) => Number(option.value) === speed) ? speed : 60;
  $("search").value = state.q;
  $("only").value = state.only;
  state.only = $("only").value;
  return Number.isNaN(time) ? null : time;
}

function showAll() {
  const known = [...fleet.values()].filter((vessel) => vessel.lat !== undefined).sort((one, other) => one.lon - other.lon);
  // The world is round: it is cut where nobody is for the longest way, and not at 180 degrees.
  let first = 0, widest = 0;
  for (const [index, { lon }] of known.entries()) {
    const gap = index ? lon - known[index - 1].lon : lon + 360 - known.at(-1).lon;
    if (gap > widest) [first, widest] = [index, gap];
  }
  const around = known.map(({ lat, lon }, index) => [Math.max(-85, Math.min(85, lat)), index < first ? lon + 360 : lon]);
  if (known.length) map.fitBounds(around, { padding: [40, 40], maxZoom: 10, animate: false });
  state.map = true;
}

// --- The page around it: keys --------------------------------------------------------------------------------------

async function signIn(text) {
  const said = $("sign-in-said");
  $("key").value = text;
  said.textContent = "Asking the service…";
  said.className = "";
  const answer = await introduce(text, `${API}/api/v1/me`);
  said.textContent = answer.text;
  said.className = answer.kind;
  if (answer.kind !== "good") return $("sign-in").open || askForKey(answer.text);
  // What another key has seen is nothing that this one may show.
  if (key) forgetFleet();
  [key, me] = [text, answer.me];
  keep(key);
  $("sign-in").close();
  $("account").textContent = "Sign out";
  $("account").title = answer.text;
  const time = load();
  watch();
  if (time !== null) goTo(time);
  else if (state.vessel) track.read();
}

function askForKey(text = "") {
  $("sign-in-said").textContent = text;
  $("sign-in-said").className = text && "bad";
  if (!$("sign-in").open) $("sign-in").showModal();
  $("key").select();
}

const ENDED = "This key was revoked or has expired. Paste another one.";

function signOut(text = "") {
  forgetFleet();
  forget();
  [key, me] = [null, null];
  line.state = "out";
  $("account").textContent = "Sign in";
  $("account").title = $("key").value = "";
  membersChanged();
  askForKey(text);
}

function forgetFleet() {
  following?.abort();
  replay.asking?.abort();
  [fleet, fleetTag, past, state.time] = [new Map(), null, null, null];
  Object.assign(replay, { isPlaying: false, isLoading: false, from: null, next: null });
  Object.assign(line, { error: null, newest: null, told: null, toldUntil: 0 });
  track.clear();
}

// --- Words ---------------------------------------------------------------------------------------------------------

const write = (element, text) => element && element.textContent !== text && (element.textContent = text);
const attribute = (element, name, value) => element.getAttribute(name) !== String(value) && element.setAttribute(name, value);
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const degrees = (value) => (value === null || value === undefined ? null : `${Math.round(value)}°`);
const say = (text) => ($("announcements").textContent = text);

function ago(passed_ms) {
  const passed_s = Math.max(0, Math.round(passed_ms / 1000));
  if (passed_s < 60) return `${passed_s} s ago`;
  if (passed_s < 5400) return `${Math.round(passed_s / 60)} min ago`;
  return passed_s < 172_800 ? `${Math.round(passed_s / 3600)} h ago` : `${Math.round(passed_s / 86_400)} d ago`;
}

function utc(time) {
  const [day, hour] = new Date(time).toISOString().slice(0, 19).split("T");
  return day === new Date(clock.now()).toISOString().slice(0, 10) ? `${hour} UTC` : `${day} ${hour} UTC`;
}

function angle(value, positive, negative) {
  const minutes = Math.round(Math.abs(value) * 60_000) / 1000;
  return `${Math.floor(minutes / 60)}° ${(minutes % 60).toFixed(3)}′ ${value < 0 ? negative : positive}`;
}

// --- Together ------------------------------------------------------------------------------------------------------

const map = L.map("map", { zoomControl: false, attributionControl: false, minZoom: 2, maxZoom: 15, worldCopyJump: true,
  zoomAnimation: !calm.matches, fadeAnimation: !calm.matches, inertia: !calm.matches }).setView([30, 0], 2);
L.control.zoom({ position: "topright" }).addTo(map);
L.control.attribution({ position: "bottomright", prefix: false }).addAttribution("Leaflet · Natural Earth").addTo(map);
L.control.scale({ position: "bottomright", imperial: false }).addTo(map);
map.createPane("vessels").style.zIndex = 450;
const land = new Land({ updateWhenZooming: false }).addTo(map);
const vessels = new Vessels().addTo(map);

map.on("moveend", () => {
  if (key) save();
  if (Math.abs(map.getCenter().lng - track.middle) > 90) track.draw();
});
map.on("click", ({ containerPoint }) => {
  const vessel = vessels.at(containerPoint);
  if (vessel || state.vessel !== null) select(vessel?.id ?? null);
});
map.on("mousemove", ({ containerPoint }) => {
  const id = vessels.at(containerPoint)?.id ?? null;
  if (id === hovered) return;
  hovered = id;
  map.getContainer().classList.toggle("over-vessel", id !== null);
  redraw();
});
$("list").addEventListener("scroll", () => showList());
$("list").addEventListener("focus", () => list.active === null && activate(0));
$("list").addEventListener("click", ({ target }) => {
  const row = target.closest("[data-vessel]");
  if (row) select(Number(row.dataset.vessel), { isToPan: true });
});
$("list").addEventListener("keydown", (event) => {
  const at = list.ids.indexOf(list.active), page = Math.max(1, Math.floor($("list").clientHeight / ROW) - 1);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: list.ids.length - 1 }[event.key];
  if (to !== undefined) activate(to);
  else if ((event.key === "Enter" || event.key === " ") && list.active !== null) select(list.active, { isToPan: true });
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && state.vessel !== null && !$("sign-in").open) {
    select(null);
    $("list").focus();
  }
});
$("search").addEventListener("input", () => ((state.q = $("search").value), refresh(), save()));
$("search").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") $("list").focus();
  else if (event.key === "Enter" && list.ids.length) select(list.ids[0], { isToPan: true });
});
for (const name of ["kind", "only"]) $(name).addEventListener("change", () => ((state[name] = $(name).value), refresh(), save()));
$("close").addEventListener("click", () => (select(null), $("list").focus()));
$("locate").addEventListener("click", () => chosen() && locate(chosen()));
$("play").addEventListener("click", () => setPlaying(!replay.isPlaying));
$("go-live").addEventListener("click", () => goTo(null));
$("speed").addEventListener("change", () => ((state.speed = Number($("speed").value)), save()));
$("slider").addEventListener("input", () => goTo(Number($("slider").value) * 1000, { isSettled: false }));
// It begins with what is shown: a date is rather changed than typed.
$("jump").addEventListener("focus", () => ($("jump").value = new Date(moment()).toISOString().slice(0, 19)));
$("jump").addEventListener("change", () => $("jump").value && goTo(Date.parse(`${$("jump").value}Z`), { isSettled: false }));
$("banner-button").addEventListener("click", () => (performance.now() < line.toldUntil && line.state === "open" ? ((line.toldUntil = 0), refresh()) : watch()));
$("account").addEventListener("click", () => (key ? signOut() : askForKey()));
$("sign-in").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(pasted($("key").value));
});
addEventListener("hashchange", () => {
  const time = load();
  membersChanged();
  if (key) goTo(time);
});
for (const name of ["online", "offline"]) addEventListener(name, refresh);
document.addEventListener("visibilitychange", refresh);
addEventListener("resize", refresh);
// Who signs in or out in another tab does so in all.
addEventListener("storage", () => {
  const kept = recall();
  if (kept && kept !== key) signIn(kept);
  else if (key && !kept) signOut("You have signed out in another tab.");
});

const dark = matchMedia("(prefers-color-scheme: dark)");
function theme(wanted) {
  if (wanted) localStorage.setItem("theme", wanted);
  const kept = localStorage.getItem("theme") ?? "auto";
  document.documentElement.dataset.theme = kept === "auto" ? (dark.matches ? "dark" : "light") : kept;
  $("theme").textContent = { auto: "Colours: auto", light: "Colours: light", dark: "Colours: dark" }[kept];
  land.redraw();
  vessels.recolour();
  return kept;
}
$("theme").addEventListener("click", () => theme({ auto: "light", light: "dark", dark: "auto" }[localStorage.getItem("theme") ?? "auto"]));
dark.addEventListener("change", () => theme());
theme();

setInterval(() => (refresh(), readAgain()), 1000);
window.liveMap = { map, vessels, state, shown, redraw };
load();
if (recall()) signIn(recall());
else askForKey();
