/**
 * An API key in the browser: what people paste, whose it is, and how it is kept for the next visit.
 * All pages of this service keep it in one place, so that one sign-in is enough. It never stands in an address.
 */
const PLACE = "authorized";

/** Return the key in what somebody has pasted, which may be the whole header. */
export const pasted = (text) => text.trim().replace(/^(Authorization:\s*)?Bearer\s+/i, "");

/** Return the key that was kept; null where there is none. */
export function recall() {
  try {
    return JSON.parse(localStorage.getItem(PLACE)).api_key.value;
  } catch {
    return null;
  }
}

/** Keep a key as Swagger UI does, which reads it again at the next visit. */
export function keep(key) {
  const schema = { type: "http", scheme: "bearer" };
  localStorage.setItem(PLACE, JSON.stringify({ api_key: { name: "api_key", schema, value: key } }));
}

export function forget() {
  localStorage.removeItem(PLACE);
}

/** Ask the service, at the address of its /api/v1/me, whose key this is: what to tell of it, { kind, text }. */
export async function introduce(key, address) {
  if (!key) return { kind: "bad", text: "Paste the key that the operator gave you." };
  // What no header can hold is no key, either.
  if (!/^[\x21-\x7e]+$/.test(key)) return { kind: "bad", text: "This is not a key: it begins with hbr_ and has 40 characters." };
  let answer, body;
  try {
    answer = await fetch(address, { headers: { Authorization: `Bearer ${key}` }, cache: "no-store" });
    body = await answer.json();
  } catch {
    return { kind: "bad", text: "The service does not answer. Try again." };
  }
  if (answer.ok) return { kind: "good", text: `Authorized as ${described(body)}.`, me: body };
  if (body.code === "key_invalid") return { kind: "bad", text: "This key is not known: it is mistyped, or was never issued." };
  if (body.code === "key_revoked") return { kind: "bad", text: "This key was revoked or has expired." };
  return { kind: "bad", text: `${body.title}: ${body.detail} (${answer.status}).` };
}

function described(me) {
  const may = me.scopes.length > 3 ? `${me.scopes.length} scopes` : me.scopes.join(", ");
  const sees = me.vessel_ids && (me.vessel_ids.length === 1 ? "1 vessel" : `${me.vessel_ids.length} vessels`);
  const late = me.delay_s ? `${me.delay_s} s late` : "";
  const back = me.history_days && (me.history_days === 1 ? "1 day back" : `${me.history_days} days back`);
  return [me.name, may, sees, late, back, `${me.rate_limit.limit} requests a minute`].filter(Boolean).join(", ");
}
