/**
 * The main job, as a partner's programmer would write it: types from the document, a general client,
 * and nothing else of Harbor's. A tracker reports a position; a partner sees the vessel move.
 *
 * It prints what it saw as JSON.
 */
import { createHmac, randomUUID } from "node:crypto";
import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./harbor-api.js";

type Fix = components["schemas"]["Fix"];
type Problem = components["schemas"]["Problem"];

const baseUrl = setting("SERVICE");

const partner = clientOf(setting("API_KEY"));
const stranger = clientOf("hbr_nobody");
const tracker = createClient<paths>({ baseUrl });
tracker.use(signing(setting("TRACKER_ID"), setting("TRACKER_SECRET")));

const fleet = answerOf(await partner.GET("/api/v1/vessels"));
const vessel = fleet.features[0] ?? fail("there is no vessel");
const before = await read(vessel.id);

const nowhere = await partner.GET("/api/v1/vessels/{vessel_id}", {
  params: { path: { vessel_id: 2147483647 } },
});
const refused = await stranger.GET("/api/v1/vessels");

const fix: Fix = {
  recorded_at: new Date().toISOString(),
  lat: 59.9,
  lon: 10.7,
  sog: 8.4,
  battery_v: 3.9,
};
const first = await tracker.POST("/api/v1/positions", { body: fix });
const second = await tracker.POST("/api/v1/positions", { body: fix });
const after = await read(vessel.id);

console.log(
  JSON.stringify({
    fleet: fleet.features.map((feature) => feature.properties.name),
    before: { at: before.geometry?.coordinates ?? null, stale: before.properties.stale },
    nowhere: [nowhere.response.status, problemOf(nowhere).code],
    refused: [refused.response.status, problemOf(refused).code],
    first: [first.response.status, first.data?.verdict === "stored", first.data?.latest],
    second: [second.response.status, second.data?.verdict === "duplicate", second.data?.latest],
    after: { at: after.geometry?.coordinates ?? null, stale: after.properties.stale },
    knots: after.properties.sog?.toFixed(1),
  }),
);

async function read(vessel_id: number) {
  return answerOf(await partner.GET("/api/v1/vessels/{vessel_id}", { params: { path: { vessel_id } } }));
}

function clientOf(key: string) {
  return createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });
}

/** Sign what is sent as Standard Webhooks v1 asks: the very bytes, anew for each attempt. */
function signing(trackerId: string, secret: string): Middleware {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  return {
    async onRequest({ request }) {
      const id = `${trackerId}-${randomUUID()}`;
      const timestamp = Math.floor(Date.now() / 1000).toString();
      const body = await request.clone().text();
      const signature = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64");
      request.headers.set("webhook-id", id);
      request.headers.set("webhook-timestamp", timestamp);
      request.headers.set("webhook-signature", `v1,${signature}`);
      return request;
    },
  };
}

function answerOf<Data>(answer: { data?: Data; error?: Problem }): Data {
  return answer.data ?? fail(`${answer.error?.status} ${answer.error?.detail}`);
}

function problemOf(answer: { error?: Problem }): Problem {
  return answer.error ?? fail("it should have been a problem");
}

function setting(name: string): string {
  return process.env[name] ?? fail(`${name} is not set`);
}

function fail(why: string): never {
  throw new Error(why);
}
