import { render } from "preact";
import { startClock } from "./state/clock";
import { startRouting } from "./state/route";
import { startTheme } from "./state/theme";
import "./styles/page.css";
import { App } from "./views/app";

startTheme();
startClock();
startRouting();
render(<App />, document.getElementById("app")!);
