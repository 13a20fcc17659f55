/* The tables of moped.h as JSON: each function returns a new reference. */
#ifndef APP_PLAN_JSON_H
#define APP_PLAN_JSON_H

#include <jansson.h>
#include <moped.h>

json_t *app_plan_json(const moped_plan_info *plan);
json_t *app_experts_json(moped_model *model); /* all counters since loading, with "layers" */
json_t *app_owners_json(const moped_memory *memory); /* {"weights":{"plan_bytes":..,"used_bytes":..,"peak_bytes":..},...} */
#endif
