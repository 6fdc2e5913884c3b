import { useEffect, useMemo } from "preact/hooks";
import { EVERYTHING } from "../model/filter";
import type { Queue, Worker } from "../model/system";
import { age, amount, span } from "../model/words";
import { linkTo } from "../state/route";
import { SystemWatch } from "../state/system";
import { Chart } from "./chart";
import { Age } from "./moments";

const perSecond = (value: number): string => `${amount(value)} /s`;

export function SystemPage() {
  const system = useMemo(() => new SystemWatch(), []);
  useEffect(() => () => system.close(), [system]);
  const slices = system.slices.value;
  const knownFrom = system.knownFrom.value;
  return (
    <main class="system-page">
      <h1>Queues and workers</h1>
      {system.failure.value && <p class="complaint">{system.failure}</p>}
      <div class="charts">
        <Chart
          title="Finished"
          kind="bars"
          format={perSecond}
          knownFrom={knownFrom}
          series={[
            { name: "succeeded", tone: "good", values: slices.map((slice) => slice.succeeded) },
            { name: "otherwise", tone: "bad", values: slices.map((slice) => slice.other) },
          ]}
        />
        <Chart
          title="From submit to end"
          kind="lines"
          format={span}
          knownFrom={knownFrom}
          series={[
            { name: "median", tone: "first", values: slices.map((slice) => slice.median) },
            { name: "95 %", tone: "second", values: slices.map((slice) => slice.slow) },
          ]}
        />
      </div>
      <Queues queues={system.queues.value} />
      <Workers workers={system.workers.value} />
    </main>
  );
}

function Queues({ queues }: { queues: readonly Queue[] | undefined }) {
  return (
    <section class="panel">
      <header>
        <h2>Queues</h2>
      </header>
      {queues?.length === 0 && <p class="muted">No queue holds a task or has a worker.</p>}
      {queues && queues.length > 0 && (
        <div class="sideways" tabIndex={0} role="region" aria-label="Queues">
          <table>
            <thead>
              <tr>
                <th scope="col">Queue</th>
                <th scope="col" class="number">
                  Waiting
                </th>
                <th scope="col" class="number">
                  High
                </th>
                <th scope="col" class="number">
                  Normal
                </th>
                <th scope="col" class="number">
                  Low
                </th>
                <th scope="col" class="number">
                  Oldest
                </th>
                <th scope="col" class="number">
                  Delayed
                </th>
                <th scope="col" class="number">
                  Running
                </th>
                <th scope="col" class="number">
                  Workers
                </th>
                <th scope="col" class="number">
                  Finished
                </th>
              </tr>
            </thead>
            <tbody>
              {queues.map((queue) => (
                <tr key={queue.name} data-queue={queue.name}>
                  <th scope="row">
                    <a href={linkTo({ page: "list", filter: { ...EVERYTHING, queue: queue.name } })}>{queue.name}</a>
                  </th>
                  <td class="number strong">{amount(queue.high + queue.normal + queue.low)}</td>
                  <td class="number muted">{amount(queue.high)}</td>
                  <td class="number muted">{amount(queue.normal)}</td>
                  <td class="number muted">{amount(queue.low)}</td>
                  <td class="number">{queue.oldestWaiting === undefined ? "–" : age(queue.oldestWaiting)}</td>
                  <td class="number">{amount(queue.delayed)}</td>
                  <td class="number">{amount(queue.running)}</td>
                  <td class="number">{queue.consumers || <span class="complaint">none</span>}</td>
                  <td class="number">{perSecond(queue.rate)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Workers({ workers }: { workers: readonly Worker[] | undefined }) {
  return (
    <section class="panel">
      <header>
        <h2>Workers</h2>
      </header>
      {workers?.length === 0 && <p class="muted">No worker has reported lately.</p>}
      {workers && workers.length > 0 && (
        <div class="sideways" tabIndex={0} role="region" aria-label="Workers">
          <table>
            <thead>
              <tr>
                <th scope="col">Worker</th>
                <th scope="col" class="number">
                  Running
                </th>
                <th scope="col">Queues</th>
                <th scope="col">Types</th>
                <th scope="col" class="number">
                  Heard of
                </th>
                <th scope="col" class="number">
                  Up for
                </th>
                <th scope="col">Version</th>
              </tr>
            </thead>
            <tbody>
              {workers.map((worker) => (
                <tr key={worker.name} data-worker={worker.name}>
                  <th scope="row">
                    <code>{worker.name}</code>
                  </th>
                  <td class="number">
                    <span class="strong">{worker.running}</span> <span class="muted">/ {worker.slots}</span>
                  </td>
                  <td>{worker.queues.join(", ")}</td>
                  <td class="types" title={worker.types.join(", ")}>
                    {worker.types.join(", ")}
                  </td>
                  <td class="number">
                    <Age since={worker.heartbeat} /> ago
                  </td>
                  <td class="number">
                    <Age since={worker.started} />
                  </td>
                  <td>{worker.version}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
