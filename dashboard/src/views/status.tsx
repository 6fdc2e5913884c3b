import type { Status } from "../model/task";
import { STATUS_MEANINGS, STATUS_WORDS } from "../model/words";
import { StatusIcon } from "./icons";

export const StatusMark = ({ status, large = false }: { status: Status; large?: boolean }) => (
  <span class={`status ${large ? "large" : ""}`} data-status={status} title={STATUS_MEANINGS[status]}>
    <StatusIcon status={status} size={large ? 18 : 14} />
    {STATUS_WORDS[status]}
  </span>
);
