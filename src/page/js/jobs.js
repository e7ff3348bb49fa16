// The jobs: one card each, running ones first, drawn in place.

import { call } from "./api.js";
import { $, el, icon, say, setText, toast } from "./dom.js";
import * as format from "./format.js";
import { t } from "./strings.js";

const active = (job) => job.status === "queued" || job.status === "running";
/** Ended jobs that stay on show until dismissed. */
const ENDED = 3;

export class Jobs {
  constructor() {
    this.jobs = new Map();
    this.cards = new Map();
    this.idle = el("p", { class: "idle", text: t("idle") });
    this.draw();
  }

  /** Takes the newest state of a job; `old` is true for what is not news. */
  update(job, old) {
    const before = this.jobs.get(job.job_id);
    this.jobs.set(job.job_id, job);
    if (!old && !active(job) && (!before || active(before))) say(this.summary(job));
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  /** After a reset only what the server tells again is so. */
  forget() {
    for (const [id, job] of this.jobs) if (active(job)) this.jobs.delete(id);
    this.draw();
  }

  summary(job) {
    const progress = t("jobProgress", { current: format.count(job.progress.current), total: format.count(job.progress.total) });
    return t("jobDone", { action: t(`job.${job.action}`), status: t(`jobStatus.${job.status}`), progress });
  }

  draw() {
    const running = [...this.jobs.values()].filter(active);
    const ended = [...this.jobs.values()].filter((job) => !active(job));
    for (const job of ended.slice(0, -ENDED)) this.jobs.delete(job.job_id);
    const shown = [...running, ...ended.slice(-ENDED).reverse()];
    const cards = shown.map((job) => {
      const card = this.cards.get(job.job_id) ?? this.card(job);
      this.fill(card, job);
      return card.box;
    });
    for (const id of this.cards.keys()) if (!this.jobs.has(id)) this.cards.delete(id);
    const box = $("jobs");
    const wanted = running.length ? cards : [this.idle, ...cards];
    // Moving a card would take the focus from its button.
    if (wanted.length !== box.children.length || wanted.some((card, index) => box.children[index] !== card)) box.replaceChildren(...wanted);
    setText($("now-badge"), format.count(running.length));
    $("now-badge").hidden = running.length === 0;
  }

  card(job) {
    const id = job.job_id;
    const title = el("h3", { id: `job-${id}` });
    const card = {
      title,
      status: el("span", { class: "job-status" }),
      bar: el("progress", { max: 100, "aria-labelledby": title.id }),
      figures: el("span"),
      failures: el("span", { class: "bad" }),
      file: el("p", { class: "job-file faint", dir: "auto" }),
      cancel: el("button", { type: "button", text: t("cancel"), "aria-describedby": title.id, click: () => this.cancel(id) }),
      dismiss: el("button", { type: "button", class: "quiet icon-button", "aria-label": t("dismiss"), click: () => {
        this.jobs.delete(id);
        this.draw();
      } }, icon("close")),
    };
    card.box = el("article", { class: "job", "aria-labelledby": title.id },
      el("div", { class: "job-head" }, card.title, card.status, card.dismiss), card.bar,
      el("div", { class: "job-foot" }, el("div", {}, el("p", { class: "job-figures" }, card.figures, card.failures), card.file), card.cancel));
    this.cards.set(id, card);
    return card;
  }

  fill(card, job) {
    const { current, total, percent, failed } = job.progress;
    card.box.dataset.status = job.status;
    setText(card.title, t(`job.${job.action}`));
    setText(card.status, t(`jobStatus.${job.status}`));
    if (job.status === "queued" && total === 0) card.bar.removeAttribute("value");
    else card.bar.value = percent;
    const parts = [t("jobProgress", { current: format.count(current), total: format.count(total) })];
    if (active(job) && job.eta_s !== null) parts.push(t("jobEta", { time: format.duration(job.eta_s) }));
    setText(card.figures, parts.join(" · "));
    setText(card.failures, failed > 0 ? ` · ${t("jobFailures", { n: failed })}` : "");
    setText(card.file, format.name((active(job) && job.current_file) || ""));
    card.file.title = card.file.textContent;
    card.bar.hidden = card.cancel.hidden = !active(job);
    card.dismiss.hidden = active(job);
  }

  async cancel(id) {
    try {
      await call(`api/jobs/${encodeURIComponent(id)}/cancel`, { method: "POST" });
      toast(t("jobCancelled"));
    } catch (error) {
      toast(t("failedCall", { message: error.message }));
    }
  }
}

/** Queues a job; says what came of it. Returns whether it was taken. */
export async function startJob(body) {
  try {
    const job = await call("api/jobs", { method: "POST", body });
    toast(t("jobStarted", { n: job.total }));
    return true;
  } catch (error) {
    toast(t("failedCall", { message: error.message }));
    return false;
  }
}
