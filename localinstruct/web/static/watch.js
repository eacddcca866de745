/* Says when the page no longer answers; the rest is htmx's. */
"use strict";
const away = () => document.getElementById("away");
document.addEventListener("htmx:sendError", () => { away().hidden = false; });
document.addEventListener("htmx:responseError", () => { away().hidden = false; });
document.addEventListener("htmx:afterOnLoad", () => { away().hidden = true; });
