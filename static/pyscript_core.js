/**
 * PyScript under a policy without 'unsafe-eval': its default hook for Python workers is evaluated with Function() even on
 * pages that start none, so it is cleared before PyScript looks at the page. The import is static on purpose: an awaited
 * one would come too late.
 */
import { hooks } from "./pyscript/core.js";

hooks.worker.onBeforeRunAsync.clear();
