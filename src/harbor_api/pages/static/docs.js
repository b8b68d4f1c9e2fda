import { introduce, pasted } from "./api-key.js";

const place = document.getElementById("swagger-ui");
const SIGNED_BY = ["webhook_id", "webhook_timestamp", "webhook_signature"];
// A stream has no end: so much of it is shown.
const STREAM_S = 30, STREAM_EVENTS = 100;
// Who signs what trackers post. Only in memory: no secret outlives the page.
let tracker = null;

followColourScheme();
window.ui = SwaggerUIBundle({
  domNode: place,
  url: place.dataset.document,
  plugins: [harbor],
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  filter: false,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
  // What reads comes before what changes.
  operationsSorter: (one, other) => Number(one.get("method") !== "get") - Number(other.get("method") !== "get"),
  requestInterceptor: prepared,
});

function followColourScheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", follow);
  follow();
}

/** What Swagger UI shows otherwise here: the Authorize dialog, errors in a line each, headers on demand. */
function harbor({ React }) {
  const e = React.createElement;

  /** Asks for the one thing that nearly everybody has, an API key, and says at once whose it is. */
  function Authorize({ authActions, authSelectors, specSelectors }) {
    const dialog = React.useRef(null);
    const [said, say] = React.useState({ kind: "", text: "" });
    const wanted = authSelectors.shownDefinitions().valueSeq().flatMap((each) => each.keySeq()).toSet();
    const inUse = authSelectors.authorized().getIn(["api_key", "value"]);
    const close = () => authActions.showDefinitions(false);

    React.useEffect(() => {
      const opener = document.activeElement;
      dialog.current.showModal();
      if (!wanted.has("api_key")) dialog.current.querySelector("#sign-id").focus();
      if (inUse) introduce(inUse, place.dataset.me).then(say);
      return () => opener?.focus();
    }, []);

    const authorize = async (key) => {
      say({ kind: "", text: "Asking the service..." });
      const answer = await introduce(key, place.dataset.me);
      say(answer);
      if (answer.kind === "good") {
        authActions.authorizeWithPersistOption(entry("api_key", key));
        dialog.current?.querySelector(".btn-done").focus();
      }
      return answer.kind === "good";
    };
    const forget = () => {
      authActions.logoutWithPersistOption(["api_key"]);
      say({ kind: "", text: "The key is forgotten." });
    };
    const entry = (name, value) => ({
      [name]: { name, value, schema: specSelectors.securityDefinitions().get(name) },
    });
    const sign = (id) => {
      // The interceptor replaces these with what fits each request.
      authActions.authorize(Object.assign({}, ...SIGNED_BY.map((name) => entry(name, id))));
    };

    return e(
      "dialog",
      {
        ref: dialog,
        className: "harbor-authorize",
        "aria-labelledby": "authorize-title",
        onClose: close,
        // A click beside it: what is inside has elements of its own.
        onClick: (event) => event.target === dialog.current && dialog.current.close(),
      },
      e(
        "div",
        { className: "auth-container" },
        e("h2", { id: "authorize-title" }, "Authorize"),
        e(KeyForm, { authorize, forget, said, inUse, close: () => dialog.current.close() }),
        e(TrackerForm, { sign, isOpen: !wanted.has("api_key") }),
      ),
    );
  }

  function KeyForm({ authorize, forget, said, inUse, close }) {
    const input = React.useRef(null);
    const submit = async (event) => {
      event.preventDefault();
      const key = pasted(input.current.value);
      input.current.value = key;
      if (!(await authorize(key))) input.current?.select();
    };
    return e(
      "form",
      { onSubmit: submit, noValidate: true },
      e("label", { htmlFor: "authorize-key" }, "API key"),
      e("input", {
        id: "authorize-key",
        ref: input,
        type: "text",
        autoFocus: true,
        autoComplete: "off",
        autoCapitalize: "none",
        spellCheck: false,
        placeholder: "hbr_...",
        "aria-describedby": "authorize-said",
        "aria-invalid": said.kind === "bad",
      }),
      e("p", { id: "authorize-said", role: "status", className: `said ${said.kind}` }, said.text),
      e(
        "div",
        { className: "auth-btn-wrapper" },
        e("button", { type: "submit", className: "btn authorize" }, "Authorize"),
        inUse && e("button", { type: "button", className: "btn", onClick: forget }, "Forget the key"),
        e("button", { type: "button", className: "btn btn-done", onClick: close }, "Close"),
      ),
    );
  }

  function TrackerForm({ sign, isOpen }) {
    const [said, say] = React.useState(tracker ? signsAs(tracker.id) : { kind: "", text: "" });
    const submit = async (event) => {
      event.preventDefault();
      const { id, secret } = Object.fromEntries(new FormData(event.target));
      try {
        tracker = { id: id.trim(), key: await keyOf(secret.trim()) };
        sign(tracker.id);
        say(signsAs(tracker.id));
      } catch (error) {
        say({ kind: "bad", text: error.message });
      }
    };
    const field = (name, label, more) => [
      e("label", { key: "label", htmlFor: `sign-${name}` }, label),
      e("input", { key: "input", id: `sign-${name}`, name, autoComplete: "off", spellCheck: false, ...more }),
    ];
    return e(
      "details",
      { open: isOpen || undefined },
      e("summary", null, "Sign as a tracker"),
      e(
        "form",
        { onSubmit: submit },
        e("p", null, "This page then signs what is posted to /api/v1/positions. The secret stays in this page and goes with it."),
        field("id", "Tracker", { placeholder: "trk_0001", required: true, pattern: "\\s*trk_[0-9]{4,10}\\s*", title: "trk_ and digits" }),
        field("secret", "Secret", { type: "password", placeholder: "whsec_...", required: true }),
        e("p", { role: "status", className: `said ${said.kind}` }, said.text),
        e("div", { className: "auth-btn-wrapper" }, e("button", { type: "submit", className: "btn" }, "Sign as this tracker")),
      ),
    );
  }

  const signsAs = (id) => ({ kind: "good", text: `This page signs as ${id}.` });

  const Response = (Original) => (props) => {
    if (Number(props.code) < 400) return e(Original, props);
    const Markdown = props.getComponent("Markdown", true);
    return e(
      "tr",
      { className: `response harbor-error ${props.className ?? ""}`, "data-code": props.code },
      e("td", { className: "response-col_status" }, props.code),
      e("td", { className: "response-col_description" }, e(Markdown, { source: props.response.get("description") })),
    );
  };

  const Headers = (Original) => (props) =>
    e(
      "details",
      { className: "harbor-headers" },
      e("summary", null, "Headers: ", [...props.headers.keys()].join(", ")),
      e(Original, props),
    );

  // Of those whose labels Swagger UI forgets, and of the link inside a button that both open the operation.
  const TextArea = (Original) => (props) => e(Original, { "aria-label": "Request body", ...props });
  const ExamplesSelect = (Original) => (props) =>
    e("label", null, e("span", { className: "harbor-spoken" }, "Example"), e(Original, props));
  const JsonSchemaForm = (Original) => (props) =>
    e("label", null, e("span", { className: "harbor-spoken" }, props.description), e(Original, props));
  // What an operation is called is known once all that it refers to is read: a click before that is lost.
  const execute = (Original, { specSelectors }) => (props) => {
    const isRead = specSelectors.specResolvedSubtree(["paths", props.path, props.method]) !== undefined;
    return e(Original, { ...props, disabled: props.disabled || !isRead });
  };
  // What this page does with a stream is said below it.
  const liveResponse = (Original) => (props) => {
    const told = props.response.get("told");
    const guide = told && e("a", { href: "/docs/following#the-stream" }, "Following");
    return e(React.Fragment, null, e(Original, props), told && e("p", { className: "harbor-told", role: "status" }, told, " ", guide));
  };
  const DeepLink = ({ text }) => e("span", null, text);

  return {
    // There is one server: the one that serves this page.
    components: {
      authorizationPopup: Authorize,
      DeepLink,
      ServersContainer: () => null,
      // An item of a list is looked for by its format, too, and where nobody knows that there is no field.
      "JsonSchema_string_visible-text": ({ getComponent, ...rest }) =>
        e(getComponent("JsonSchema_string"), { getComponent, ...rest }),
    },
    wrapComponents: { response: Response, headers: Headers, execute, liveResponse, TextArea, ExamplesSelect, JsonSchemaForm },
    statePlugins: {
      auth: { wrapActions: { persistAuthorizationIfNeeded: keepTheKeyOnly } },
      spec: { wrapActions: { executeRequest: showStreams, clearResponse: stopStream } },
    },
  };
}

let streaming = null;

/** Show what a stream brings as it comes: Swagger UI would wait for its end, and show nothing until then. */
function showStreams(execute, { specActions }) {
  return (request) => {
    const { pathName, method } = request;
    streaming?.abort();
    const { signal } = (streaming = new AbortController());
    const userFetch = async (url, options) => {
      const began = Date.now(), answer = await fetch(url, { ...options, signal });
      if (!answer.headers.get("Content-Type")?.startsWith("text/event-stream")) return answer;
      const { ok, status, statusText } = answer, headers = Object.fromEntries(answer.headers);
      for await (const [text, told] of excerpts(answer.body.getReader(), signal)) {
        const duration = Date.now() - began;
        specActions.setResponse(pathName, method, { ok, url, status, statusText, headers, text, data: text, duration, told });
      }
      // All of it has been shown: Swagger UI gets nothing to show in its place.
      return new Promise(() => {});
    };
    return execute({ ...request, userFetch });
  };
}

function stopStream(clear) {
  return (...place) => {
    streaming?.abort();
    return clear(...place);
  };
}

/** Yield [what has come of a stream so far, what to tell of that] for as long as this page reads it. */
async function* excerpts(reader, signal) {
  const decoder = new TextDecoder(), events = /\n\n/g;
  let text = "", many = 0, timer;
  const timeout = new Promise((resolve) => (timer = setTimeout(resolve, STREAM_S * 1000, { isOver: true })));
  const stopped = (limit) => `This page stopped reading after ${limit}. The stream itself goes on: take the curl command above, or see`;
  try {
    while (many < STREAM_EVENTS) {
      const told = `Reading, ${many === 1 ? "1 event" : `${many} events`} so far. This page stops after ${STREAM_S} seconds or ${STREAM_EVENTS} events. See`;
      yield [text, told];
      const { value, done, isOver } = await Promise.race([reader.read(), timeout]);
      if (signal.aborted) return;
      if (isOver) return yield [text, stopped(`${STREAM_S} seconds`)];
      if (done) return yield [text, "The service ended the stream. How to go on, see"];
      text += decoder.decode(value, { stream: true });
      for (many = 0, events.lastIndex = 0; many < STREAM_EVENTS && events.test(text); many++);
    }
    yield [text.slice(0, events.lastIndex), stopped(`${STREAM_EVENTS} events`)];
  } catch (error) {
    if (!signal.aborted) yield [text, `The connection was cut: ${error.message}. How to go on, see`];
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
}

/** Keep an API key for the next visit; a tracker is forgotten with the page, as its secret is. */
function keepTheKeyOnly(_, { authSelectors }) {
  return () => {
    const { api_key } = authSelectors.authorized().toJS();
    localStorage.setItem("authorized", JSON.stringify(api_key ? { api_key } : {}));
  };
}

/** Return a tracker's secret as a key that signs; an error that tells what is wrong with it. */
async function keyOf(secret) {
  if (!crypto.subtle) throw new Error("Browsers sign only on pages that came over HTTPS or from this machine.");
  if (!/^whsec_[A-Za-z0-9+/]{43}=$/.test(secret)) throw new Error("A secret is whsec_ and 44 characters.");
  const bytes = Uint8Array.from(atob(secret.slice("whsec_".length)), (each) => each.charCodeAt(0));
  return crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
}

/** Change a request before it is sent, and before Swagger UI shows it as a command. */
function prepared(request) {
  // Else curl holds back what has come.
  if (request.headers?.accept === "text/event-stream") request.curlOptions = ["-N"];
  return signed(request);
}

/** Sign a request that has to be, as Standard Webhooks says: the very bytes, anew for each attempt. */
async function signed(request) {
  if (!tracker || !request.headers?.["webhook-id"]) return request;
  // What is to be checked is taken nowhere else.
  const kind = new URL(request.url, location.href).pathname.endsWith("/check") ? "check-" : "";
  const id = `${tracker.id}-${kind}${crypto.randomUUID()}`;
  const time = Math.floor(Date.now() / 1000);
  const message = new TextEncoder().encode(`${id}.${time}.${request.body ?? ""}`);
  const mac = String.fromCharCode(...new Uint8Array(await crypto.subtle.sign("HMAC", tracker.key, message)));
  Object.assign(request.headers, {
    "webhook-id": id,
    "webhook-timestamp": String(time),
    "webhook-signature": `v1,${btoa(mac)}`,
  });
  return request;
}
