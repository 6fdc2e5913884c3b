/** Where the page is: the part of the address after #. The paths before it belong to the HTTP interface. */

import { signal } from "@preact/signals";
import { fromAddress, toAddress, type Filter } from "../model/filter";

export type Route =
  | { readonly page: "list"; readonly filter: Filter }
  | { readonly page: "task"; readonly id: string }
  | { readonly page: "system" }
  | { readonly page: "submit" };

function read(): Route {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [head, id] = path.split("/");
  if (head === "tasks" && id) return { page: "task", id };
  if (head === "system") return { page: "system" };
  if (head === "submit") return { page: "submit" };
  return { page: "list", filter: fromAddress(new URLSearchParams(query)) };
}

export const route = signal<Route>(read());

export function startRouting(): void {
  window.addEventListener("hashchange", () => {
    route.value = read();
  });
}

export function linkTo(target: Route): string {
  if (target.page === "task") return `#/tasks/${target.id}`;
  if (target.page !== "list") return `#/${target.page}`;
  const query = toAddress(target.filter);
  return query ? `#/?${query}` : "#/";
}

export function go(target: Route): void {
  location.hash = linkTo(target);
}

/** Where the list was left, filter included: there one goes back to. */
export const lastList = signal("#/");
