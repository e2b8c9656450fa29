// Calls the service with the key, which lives as long as the tab does.

const KEPT = "kgrec-key";
const listeners = new Set();

export function readKey() {
  return sessionStorage.getItem(KEPT) ?? "";
}

export function keepKey(key) {
  if (key) sessionStorage.setItem(KEPT, key);
  else sessionStorage.removeItem(KEPT);
}

// Called with a problem when the service does not take the key.
export function onRefused(listener) {
  listeners.add(listener);
}

export class ServiceError extends Error {
  constructor(status, problem) {
    super(problem.title || "The service did not answer");
    this.status = status;
    this.problem = problem;
  }

  // The parts of the problem as sentences, for people.
  get sentences() {
    const { got, expected, to_do: toDo, detail } = this.problem;
    if (got && !expected && !toDo) return [`${got[0].toUpperCase()}${got.slice(1)}.`];
    const parts = [got && `Got ${got}.`, expected && `Expected ${expected}.`, toDo && `${toDo[0].toUpperCase()}${toDo.slice(1)}.`];
    const found = parts.filter(Boolean);
    return found.length ? found : [detail].filter((text) => text && text !== this.message);
  }
}

async function call(method, path, body, { key = readKey(), signal, headers = {} } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      headers: { Authorization: `Bearer ${key}`, ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError(0, { title: "The service cannot be reached", to_do: "see whether it runs" });
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ title: `The service answered ${response.status}` }));
  const error = new ServiceError(response.status, problem);
  if (response.status === 401) listeners.forEach((listener) => listener(error));
  throw error;
}

export async function ask(path, body, options) {
  return (await call(body === undefined ? "GET" : "POST", path, body, options)).json();
}

export async function askText(path, options) {
  return (await call("GET", path, undefined, options)).text();
}

// The answer and its status, also where it is no success: what is not ready says why.
export async function askAnyway(path) {
  try {
    return await ask(path);
  } catch (error) {
    if (error instanceof ServiceError && error.status === 503) return error.problem;
    throw error;
  }
}

// Asks the latest question only: an answer that comes after a newer question is dropped, and resolves to null.
export function latestOnly() {
  let running = null;
  return async (path, body) => {
    running?.abort();
    const mine = (running = new AbortController());
    try {
      const answer = await ask(path, body, { signal: mine.signal });
      return mine === running ? answer : null;
    } catch (error) {
      if (mine !== running || error.name === "AbortError") return null;
      throw error;
    }
  };
}
