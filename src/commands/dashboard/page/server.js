// What the page asks its server: answers, and server-sent events, with the token if there is one.

let token = sessionStorage.getItem("nn-token") ?? "";

export function setToken(text) {
  token = text;
  sessionStorage.setItem("nn-token", text);
}

const headers = () => (token ? { authorization: `Bearer ${token}` } : {});

// An answer as JSON. Its error has the server's words, and its status.
export async function ask(path) {
  const response = await fetch(path, { headers: headers() });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(body.error ?? `The server says ${response.status}.`), { status: response.status });
  return body;
}

const SILENCE = 15000; // milliseconds: the server speaks every 5 seconds
const PAUSE = 2000;

// Follows the events for ever: `told(kind, data)` for each, `linked(state, error)` when the link changes. Not by EventSource, which
// cannot send a token.
export async function follow(told, linked) {
  for (;;) {
    const gone = new AbortController();
    let alarm;
    const wake = () => {
      clearTimeout(alarm);
      alarm = setTimeout(() => gone.abort(), SILENCE);
    };
    try {
      wake();
      const response = await fetch("events", { headers: headers(), signal: gone.signal, cache: "no-store" });
      if (response.status === 401) {
        linked("locked");
        return;
      }
      if (!response.ok) throw new Error(`The server says ${response.status}.`);
      linked("open");
      await read(response.body.getReader(), told, wake);
      linked("closed");
    } catch {
      linked("closed");
    }
    clearTimeout(alarm);
    await new Promise((done) => setTimeout(done, PAUSE));
  }
}

// Reads events: lines of "name: value", with an empty one after each.
async function read(reader, told, wake) {
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    wake();
    rest += decoder.decode(value, { stream: true });
    const whole = rest.split("\n\n");
    rest = whole.pop();
    for (const event of whole) {
      let kind = "message";
      let data = "";
      for (const line of event.split("\n")) {
        if (line.startsWith("event:")) kind = line.slice(6).trim();
        if (line.startsWith("data:")) data += line.slice(5);
      }
      if (data) told(kind, JSON.parse(data));
    }
  }
}
