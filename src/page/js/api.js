// Calls to the server. All addresses are relative, so that the page works below a sub-path.

import { t } from "./strings.js";
import { askToken, token } from "./token.js";

/** An answer that says no; `message` is for people. */
class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * Calls the API and returns the parsed answer. Where the server wants a token, it is asked for
 * once and the call is made again.
 */
export async function call(path, { method = "GET", body, signal } = {}) {
  const headers = {};
  // What changes something must be JSON, also without a body: a foreign form cannot send that.
  if (method !== "GET") headers["Content-Type"] = "application/json";
  if (token()) headers.Authorization = `Bearer ${token()}`;
  let response;
  try {
    const text = method === "GET" ? undefined : JSON.stringify(body ?? {});
    response = await fetch(path, { method, headers, body: text, signal });
  } catch (cause) {
    if (cause.name === "AbortError") throw cause;
    throw new Refused(0, "unreachable", t("unreachable"));
  }
  if (response.status === 401 && (await askToken())) return call(path, { method, body, signal });
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    const error = answer?.error;
    throw new Refused(response.status, error?.code ?? "failed", error?.message ?? `${response.status} ${response.statusText}`);
  }
  return answer;
}

/** A query string of what is set. */
export function query(values) {
  const set = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return new URLSearchParams(set).toString();
}
