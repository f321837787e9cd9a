import { clock, NONE } from "./format";
import type { Behind, Page } from "./types";

/** What waits, best first, with the terms of its score; and what runs. */
export function Queue({ page, show }: { page: Page; show: (what: Behind) => void }) {
  const { tasks, running } = page.queue;
  const slots = page.dashboard.slots;
  const stopping = running.filter((task) => task.stopping).length;
  const now = Date.parse(page.now);
  const behind = (task: string) => show({ title: task, asked: { task }, agent: undefined });
  return (
    <section class="card" aria-labelledby="queue-title">
      <div class="head">
        <h2 id="queue-title">Queue</h2>
        <span class="muted">
          {page.status.tasks_waiting} waiting, {page.status.tasks_running} running
          {slots !== null && ` in ${slots} slots`}
        </span>
      </div>
      {tasks.length > 1 && (
        <p class="note">First aged tasks, then those of products within their share, then the others; each by score.</p>
      )}
      {tasks.length === 0 ? (
        <p class="empty">Nothing waits for a slot.</p>
      ) : (
        <div class="scroll short" tabIndex={0} role="region" aria-label="Waiting tasks">
          <table>
            <thead>
              <tr>
                <th scope="col">task</th>
                <th scope="col" class="n">
                  score
                </th>
                <th scope="col" class="n small-hide" title="priority + wait + blocking">
                  terms: priority + wait + blocking
                </th>
                <th scope="col" class="n">
                  waits
                </th>
                <th scope="col" class="n">
                  start
                </th>
                <th scope="col" class="small-hide">
                  why it waits
                </th>
              </tr>
            </thead>
            <tbody>
              {tasks.map((task) => (
                <tr key={task.task}>
                  <td>
                    <button class="link" onClick={() => behind(task.task)}>
                      {task.task}
                    </button>
                    <small>
                      {task.priority}, {task.product}
                    </small>
                  </td>
                  <td class="n">
                    {task.aged && <span class="chip warn">aged</span>} {task.score.toFixed(3)}
                  </td>
                  <td class="n small-hide muted">
                    {task.terms.priority.toFixed(3)} + {task.terms.wait.toFixed(3)} + {task.terms.blocking.toFixed(3)}
                  </td>
                  <td class="n">{task.waiting_minutes.toFixed(1)} min</td>
                  <td class="n">
                    {task.expected_start !== null && Date.parse(task.expected_start) <= now ? "now" : clock(task.expected_start)}
                  </td>
                  <td class="small-hide">{task.reason?.message ?? "can start now"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {running.length > 0 && (
        <details class="more">
          <summary>
            {running.length - stopping} running{stopping > 0 && `, ${stopping} stopping`}
          </summary>
          <div class="scroll short" tabIndex={0} role="region" aria-label="Running tasks">
            <table>
              <thead>
                <tr>
                  <th scope="col">task</th>
                  <th scope="col">model</th>
                  <th scope="col" class="n">
                    runs
                  </th>
                  <th scope="col" class="n">
                    lease until
                  </th>
                </tr>
              </thead>
              <tbody>
                {running.map((task) => (
                  <tr key={task.task}>
                    <td>
                      <button class="link" onClick={() => behind(task.task)}>
                        {task.task}
                      </button>
                      {task.stopping && <span class="chip warn">stopping</span>}
                      <small>
                        {task.agent_type}, {task.product}
                      </small>
                    </td>
                    <td>{task.model ?? NONE}</td>
                    <td class="n">{(Math.max(0, now - Date.parse(task.started_at)) / 60_000).toFixed(1)} min</td>
                    <td class="n">{clock(task.lease_expires_at)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </details>
      )}
    </section>
  );
}
