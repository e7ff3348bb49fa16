// Every text that the page shows, in one place. A translation is another object like `english`;
// {name} is filled in, and an object with `one` and `other` is chosen by {n} and the rules of the
// language. Texts of the server (errors, hints) arrive in English and are shown as they come.

import { count, within } from "./format.js";

const english = {
  skip: "Skip to the list of files",
  library: "Library", now: "Now", health: "Health", views: "Views", alerts: "Needs attention",
  tryNow: "Try now", update: "New version: reload", help: "Keyboard and help", close: "Close", cancel: "Cancel", clear: "Clear",
  themeAuto: "Colours: like the system", themeLight: "Colours: light", themeDark: "Colours: dark",

  liveConnecting: "Connecting", liveLive: "Live", liveWaiting: "Reconnecting in {n} s",
  liveTrying: "Reconnecting", livePolling: "Polling", liveOffline: "Offline",
  liveTitle: { live: "Changes arrive the moment they happen", connecting: "Opening the event stream",
    waiting: "The event stream broke off; the list may be behind", polling: "The event stream does not get through (a proxy that buffers?); asking every 5 s instead",
    offline: "The server cannot be reached; this is what was known last" },
  watcherOn: "Automatic", watcherOff: "Paused",
  watcherTitle: "New files are processed automatically. Switch off to pause.",
  watcherTitleOff: "Automatic processing is paused. Switch on to resume; what changed meanwhile is found.",
  watcherPaused: "Automatic processing is paused", watcherResumed: "Automatic processing is on again",

  breadcrumb: "Place in the library", everything: "All folders", everythingShort: "All", search: "Search",
  searchIn: "Search in {place}", filter: "Filter by state", sort: "Sort", actions: "Actions",
  status: { all: "All", unprocessed: "New", processing: "In work", processed: "Done", failed: "Failed", duplicate: "Duplicate" },
  sorts: { path: "Path, A to Z", "-path": "Path, Z to A", name: "Name, A to Z", "-name": "Name, Z to A",
    "-modified": "Newest first", modified: "Oldest first", "-size": "Largest first", size: "Smallest first" },
  columnName: "Name", columnSize: "Size", columnModified: "Modified", columnState: "State",
  gridHelp: "Arrow keys move, space selects, Enter opens details, slash searches, question mark shows all keys.",
  range: { one: "{from}–{to} of {count} file", other: "{from}–{to} of {count} files" },
  files: { one: "{count} file", other: "{count} files" },
  directories: { one: "{count} directory", other: "{count} directories" },
  noMatch: "Nothing matches", noMatchText: "No file here fits the search and the filter.", showAll: "Show all files",
  noFiles: "No files yet", noFilesText: "Copy something into a watched folder: it appears here at once.",
  firstTitle: "Choose what to watch",
  firstText: "Shelfcast is running, but no folder is configured yet. Three steps:",
  firstEdit: "Open the configuration on this machine:",
  firstLine: "Take the # away from these lines at the [[folder]] section and set your own path:",
  firstRestart: "Restart the service; this page comes to life by itself:",
  firstHint: "To try it without any configuration, stop the service and start it by hand with a folder:",
  loadFailed: "The list could not be read",

  selection: "Selected files", selected: { one: "{count} selected", other: "{count} selected" },
  process: "Process", verify: "Verify", retry: "Retry failed",
  placeTitle: "Actions for {place}", placeText: "With everything in it, directories included.",
  processNew: "Process what is new", processAll: "Process everything again", verifyAll: "Verify against the fingerprints", retryAll: "Retry what failed",
  jobStarted: { one: "Job queued: {count} file", other: "Job queued: {count} files" },
  nothingFailed: "None of the selected files has failed",

  idle: "Nothing to do. All quiet.", activity: "Activity", feedEmpty: "What happens will be listed here.",
  job: { process: "Processing", verify: "Verifying" },
  jobStatus: { queued: "queued", running: "running", completed: "completed", failed: "failed", cancelled: "cancelled" },
  jobProgress: "{current} of {total}", jobFailures: { one: "{count} failure", other: "{count} failures" },
  jobEta: "{time} left", jobCancelled: "The job is being cancelled",
  jobDone: "{action}: {status}, {progress}", dismiss: "Dismiss",

  fedAdded: "{name} is new", fedAddedMany: { one: "{count} new file", other: "{count} new files" },
  fedChanged: "{name} changed", fedChangedMany: { one: "{count} file changed", other: "{count} files changed" },
  fedRemoved: { one: "{count} file is gone", other: "{count} files are gone" },
  fedMany: "Many files changed at once", fedProcessed: "{name} done in {time}", fedFailed: "{name} failed: {error}",
  fedRebuild: "Reading all folders again",
  fedWatcher: "Watcher: {state}", fedReset: "The server started anew; the list was read again", fedGap: "The list was read again",
  watchState: { crawling: "reading folders", watching: "watching", degraded: "watching with limits", paused: "paused", offline: "a folder is offline" },

  folderState: { crawling: "Reading", watching: "Watching", degraded: "Limited", paused: "Paused", offline: "Offline" },
  folderWatched: "{watched} of {directories} directories watched", folderPolled: "{polled} polled",
  accept: "Use the disk that is there now", acceptTitle: "Accept the disk at {name}?",
  acceptText: "The index of this folder will be compared with the disk that is at its path now. Files that are not on it leave the index.",
  acceptDo: "Accept this disk", accepted: "The disk was accepted; the folder is being read",
  noFolders: "No folder is configured.", eventsPerMinute: "Events per minute", plotFrom: "30 min ago", plotMost: "at most {max}", plotTo: "now",
  plotLabel: "Events per minute over the last 30 minutes: {sum} in all, at most {max} in a minute",
  figureClients: "Screens connected", figureEvents: "Events", figureLatency: "Latency, typical", figureWorst: "Latency, worst 1 %",
  figureFiles: "Files", figureBytes: "Size", figureDirectories: "Directories", figureCrawl: "Last full read", figureUptime: "Running for", figureVersion: "Version",
  rebuild: "Read all folders again", rebuildStarted: "All folders are being read again",

  place: "Place", fileSize: "Size", modified: "Modified", state: "State", fingerprint: "Fingerprint", processedAt: "Processed",
  waiting: "Waiting", error: "Error", history: "History", noHistory: "Not processed yet.", duplicates: "Duplicates",
  noDuplicates: "No other file has the same content.", gone: "This file is gone.",
  historyOk: "{processor}: done in {time}", historyBad: "{processor}: {error}",

  tokenTitle: "Token needed", tokenText: "Changes on this server need the token from its configuration ([access] token). It is kept in this browser only.",
  tokenWrong: "The server did not take this token.", token: "Token", tokenSave: "Use this token",
  failedCall: "That did not work: {message}", unreachable: "the server cannot be reached",

  helpTitle: "Keyboard",
  keys: [["/", "Search"], ["↑ ↓", "Move in the list"], ["Page ↑ ↓, Home, End", "Move far"], ["Enter", "Details, or open a folder"], ["Backspace", "One folder up"],
    ["Space", "Select; on a folder, its actions"], ["Shift + ↑ ↓", "Select several"], ["Ctrl + A", "Select all that were read so far"], ["p", "Process the selected"], ["v", "Verify the selected"], ["r", "Retry the selected that failed"],
    ["l, n, h", "Library, Now, Health"], ["Esc", "Close, or clear the selection"], ["?", "This help"]],
};

const texts = english;
/** Values that come from disk or from commands. */
const foreign = new Set(["name", "place", "error", "message"]);
const plural = new Intl.PluralRules("en");

/** The text called `key` (dots go deeper), with {names} filled in from `values`. */
export function t(key, values = {}) {
  let found = texts;
  for (const part of key.split(".")) found = found?.[part];
  if (found === undefined) return key.split(".").at(-1);
  if (typeof found === "object" && "other" in found) {
    found = found[plural.select(values.n ?? 0)] ?? found.other;
    values = { count: count(values.n ?? 0), ...values };
  }
  if (typeof found !== "string") return found;
  return found.replace(/\{(\w+)\}/g, (whole, name) => (foreign.has(name) ? within(String(values[name])) : values[name] ?? whole));
}

/** Fills in the texts of the static document. */
export function translate(root) {
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of root.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of root.querySelectorAll("[data-t-placeholder]")) node.placeholder = t(node.dataset.tPlaceholder);
}
