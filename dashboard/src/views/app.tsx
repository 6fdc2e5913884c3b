import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { link } from "../api/stream";
import { announce, announcement } from "../state/announce";
import { go, lastList, route } from "../state/route";
import { Header } from "./header";
import { Help } from "./help";
import { useKeys } from "./keys";
import { ListPage } from "./list-page";
import { SubmitPage } from "./submit-page";
import { SystemPage } from "./system-page";
import { TaskPage } from "./task-page";

export function App() {
  const helping = useSignal(false);
  useKeys({
    "?": () => (helping.value = true),
    n: () => go({ page: "submit" }),
    l: () => (location.hash = lastList.value),
    q: () => go({ page: "system" }),
  });
  useEffect(() => announceLosses(), []);
  return (
    <>
      <Header onHelp={() => (helping.value = true)} />
      <Page />
      {helping.value && <Help onClose={() => (helping.value = false)} />}
      <p class="unseen" aria-live="polite">
        {announcement}
      </p>
    </>
  );
}

function Page() {
  const current = route.value;
  if (current.page === "task") return <TaskPage id={current.id} key={current.id} />;
  if (current.page === "system") return <SystemPage />;
  if (current.page === "submit") return <SubmitPage />;
  return <ListPage filter={current.filter} />;
}

function announceLosses(): () => void {
  let lost = false;
  return link.subscribe((state) => {
    if (state === "lost" && !lost) announce("The connection is lost. Trying again.");
    if (state === "live" && lost) announce("Connected again.");
    if (state !== "connecting") lost = state === "lost";
  });
}
