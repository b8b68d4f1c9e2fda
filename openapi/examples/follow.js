/**
 * Follow the positions of a Harbor API by its stream, and go on after each cut without losing one.
 * For browsers and for Node 18 or newer, as it is, with nothing but `fetch`. Copy it, or import it:
 *
 *     import { follow } from "./follow.js";
 *     await follow({ url: "https://harbor.example", key, onPosition: (item, cursor) => show(item) });
 *
 * Begins at `cursor`, or at `from`: "now" unless you say, or an RFC 3339 time. With `snapshot`, where no cursor is
 * given, the fleet comes first. `filters` are those of the fleet, { kind: ["cargo"], bbox: [5, 58, 12, 60] }. `maxRate`
 * is the least number of seconds between two positions of a vessel. The key goes into a header, never into an address.
 *
 * onHello, onVessel, onLive, onPosition, onHeartbeat and onBye are called with (data, cursor), one at a time, and
 * awaited. After a cut it goes on behind the last one that returned, so a program that runs on gets each item once.
 * One that ended passes the last `cursor` that it stored, and gets again what it did since it stored that one.
 * onReset({ reason, oldest, oldest_at }): what was before `oldest` is lost. Return a cursor to go on from there
 * (`oldest`, or that of a fleet that you have just read), `true` to begin anew as without a cursor, else it stops.
 * onState(state, { cursor, error, delay_s }): "connecting"; "open"; "quiet", a heartbeat is overdue; "silent", it
 * has been for so long that the connection is given up; "waiting" delay_s seconds, because of error if there is one.
 *
 * Returns the last cursor once `signal` aborts. Throws FollowError with status, code and cursor where trying again
 * cannot help: a key that does not hold, a wrong filter, a loss that onReset has not taken. What a callback throws
 * ends it, too, and is thrown as it is.
 */
export async function follow({ url = "", key, cursor, from, filters = {}, snapshot, maxRate, signal, fetch, ...on }) {
  let last = null, failures = 0, thrown = null;
  const fatal = (message, about) => new FollowError(message, { cursor: last ?? cursor, ...about });
  const say = (state, more) => {
    try { on.onState?.(state, { cursor: last ?? cursor, ...more }); } catch (error) { thrown ??= { error }; }
  };
  while (!signal?.aborted) {
    const address = new URL(`${url.replace(/\/$/, "")}/api/v1/positions/stream`, globalThis.location?.href);
    for (const [name, value] of Object.entries(filters)) address.searchParams.set(name, value);
    if (maxRate) address.searchParams.set("max_rate", maxRate);
    if (last === null && (cursor || from)) address.searchParams.set(cursor ? "cursor" : "from", cursor || from);
    if (last === null && !cursor && snapshot) address.searchParams.set("snapshot", "true");
    const headers = new Headers({ Accept: "text/event-stream", Authorization: `Bearer ${key}` });
    if (last !== null) headers.set("Last-Event-ID", last);
    say("connecting");
    const events = connection(address, headers, { say, signal, fetch });
    let error, wait_s;
    try {
      for (;;) {
        const step = await events.next().catch((caught) => ({ done: true, caught }));
        if (thrown) throw thrown.error;
        error = step.caught;
        if (step.done) break;
        const { type, data, id, retry_s } = step.value;
        failures = 0;
        const answer = await on[`on${type.charAt(0).toUpperCase()}${type.slice(1)}`]?.(data, id);
        if (type === "reset") {
          if (typeof answer !== "string" && answer !== true)
            throw fatal(`what was before ${data.oldest_at} is lost`, { status: 410, code: data.reason });
          [last, cursor, from] = [null, answer === true ? null : answer, null];
          break;
        }
        last = id || last;
        if (type === "bye") {
          if (/^key_(revoked|expired)$/.test(data.reason))
            throw fatal(`the key does not hold any more: ${data.reason}`, { status: 401, code: data.reason });
          wait_s = (data.reason === "rotation" ? 0 : retry_s) + Math.random();
        }
        if (signal?.aborted) break;
      }
    } finally {
      await events.return();
    }
    if (signal?.aborted) break;
    if (error?.final) throw Object.assign(error, { cursor: last ?? cursor });
    wait_s ??= Math.min(30, 2 ** failures++) * (0.5 + Math.random() / 2);
    const delay_s = Math.max(wait_s, error?.retry_after_s ?? 0);
    say("waiting", { error, delay_s });
    if (thrown) throw thrown.error;
    await pause(delay_s, signal, error?.retry_after_s === undefined);
  }
  return last ?? cursor;
}

/** Why following ended or was cut: `status` and `code` of the answer where there was one. */
export class FollowError extends Error {
  constructor(message, about) {
    super(message);
    Object.assign(this, { name: "FollowError" }, about);
  }
}

/** The lines of text/event-stream, read as the HTML standard says, from bytes that are cut anywhere. */
export class EventParser {
  #decoder = new TextDecoder(); // drops a byte order mark
  #rest = "";
  #endedInReturn = false;
  #id = "";
  #type = "";
  #data = [];
  retry_s = 4;

  /** Return the events that these bytes complete, { type, data, id }; one without data has the type "". */
  push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") return [];
    if (this.#endedInReturn && text[0] === "\n") text = text.slice(1);
    this.#endedInReturn = text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop();
    return lines.map((line) => this.#read(line)).filter(Boolean);
  }

  #read(line) {
    if (line === "") {
      const [type, data] = this.#data.length ? [this.#type || "message", this.#data.join("\n")] : ["", null];
      [this.#type, this.#data] = ["", []];
      return { type, data, id: this.#id };
    }
    const colon = line.includes(":") ? line.indexOf(":") : line.length;
    const field = line.slice(0, colon), value = line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#type = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^[0-9]+$/.test(value)) this.retry_s = value / 1000;
    return null;
  }
}

/** Yield what one connection brings, 410 as the reset that it is. Throw where it is refused, cut or falls silent. */
async function* connection(address, headers, { say, signal, fetch = globalThis.fetch }) {
  const parser = new EventParser(), cut = new AbortController(), abort = () => cut.abort();
  let heartbeat_s = 20, isOpen = false, isQuiet = false, silence, since = Date.now();
  const watch = setInterval(() => {
    // By the clock, as timers stand still while a machine sleeps. Time in which nobody reads is no silence.
    const silent_s = (Date.now() - (since ?? Date.now())) / 1000;
    if (silent_s < 0) since = Date.now();
    if (isOpen && !isQuiet && silent_s > 1.25 * heartbeat_s) {
      isQuiet = true;
      say("quiet");
    }
    if (!silence && silent_s > 2.5 * heartbeat_s) {
      silence = new FollowError(`nothing came for ${Math.round(silent_s)} s`, { code: "silent" });
      say("silent", { error: silence });
      abort();
    }
  }, 250);
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  try {
    const answer = await fetch(address, { headers, cache: "no-store", signal: cut.signal });
    if (answer.status !== 200) {
      const refusal = await refused(answer);
      if (answer.status !== 410) throw refusal;
      const { code: reason, oldest, oldest_at } = refusal.problem;
      return yield { type: "reset", data: { reason, oldest, oldest_at }, id: "" };
    }
    if (!/^text\/event-stream\b/i.test(answer.headers.get("Content-Type")))
      throw new FollowError("what answers is no event stream", { status: 200 });
    const reader = answer.body.getReader();
    for (;;) {
      since = Date.now();
      const { value, done } = await reader.read();
      since = null;
      if (done) return;
      if (!isOpen || isQuiet) say("open");
      [isOpen, isQuiet] = [true, false];
      for (const { type, data, id } of parser.push(value)) {
        const event = { type, data: JSON.parse(data), id, retry_s: parser.retry_s };
        if (type === "hello") heartbeat_s = event.data.heartbeat_s ?? heartbeat_s;
        yield event;
      }
    }
  } catch (error) {
    throw silence ?? error;
  } finally {
    clearInterval(watch);
    signal?.removeEventListener("abort", abort);
    abort();
  }
}

/** Return what an answer that is no stream says; `final` where the same request can never work. */
async function refused(answer) {
  const { status, statusText, headers } = answer;
  const problem = (await answer.json().catch(() => null)) ?? {};
  const after = headers.get("Retry-After");
  const seconds = /^[0-9]+$/.test(after) ? Number(after) : (Date.parse(after) - Date.now()) / 1000;
  return new FollowError(`HTTP ${status}: ${problem.detail ?? statusText}`, {
    status,
    code: problem.code,
    problem,
    final: status >= 400 && status < 500 && ![408, 410, 425, 429].includes(status),
    retry_after_s: Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), 86_400),
  });
}

/** Wait; whoever looks at the page again, or is online again, waits on only if the service has asked for it. */
function pause(delay_s, signal, mayEndEarly) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      for (const [target, name, listener] of listeners) target?.removeEventListener?.(name, listener);
      resolve();
    };
    const seen = () => globalThis.document.visibilityState === "visible" && end();
    const listeners = [[signal, "abort", end]];
    if (mayEndEarly) listeners.push([globalThis, "online", end], [globalThis.document, "visibilitychange", seen]);
    for (const [target, name, listener] of listeners) target?.addEventListener?.(name, listener);
    const timer = setTimeout(end, delay_s * 1000);
    if (signal?.aborted) end();
  });
}
