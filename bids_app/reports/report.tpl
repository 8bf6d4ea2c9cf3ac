<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="NiReports: https://www.nipreps.org/">
<title>{{ title }}</title>
<link rel="icon" href="data:,">
<style>
{% include "report.css" %}
</style>
{% for script in header %}
{{ script }}
{% endfor %}
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<h1>{{ title }}</h1>
{% for item in navbar %}
{{ item }}
{% endfor %}
</header>
<div class="frame">
<nav aria-label="Contents">
<details class="contents" open>
<summary>Contents</summary>
<ol>
{% for section in sections if section.reportlets %}
<li><a href="#{{ section.name }}">{{ section.title }}</a></li>
{% endfor %}
</ol>
</details>
</nav>
<main id="content" tabindex="-1">
{% for section in sections if section.reportlets %}
<section id="{{ section.name }}" aria-labelledby="{{ section.name }}-title">
<h2 id="{{ section.name }}-title">{{ section.title }}</h2>
{% for item in section.reportlets %}
<div class="item" id="{{ item.name }}">
{% if item.subtitle %}
<h3>{{ item.subtitle }}</h3>
{% endif %}
{% for element in item.components %}
{{ element[0] }}
{% if element[1] %}
<div class="caption">{{ element[1] }}</div>
{% endif %}
{% endfor %}
</div>
{% endfor %}
</section>
{% endfor %}
</main>
</div>
<footer>
{% for item in footer %}
{{ item }}
{% endfor %}
</footer>
<script>
{% include "report.js" %}
</script>
{% if header %}
<script>
{% include "explorer.js" %}
</script>
{% endif %}
<script>
{% include "viewer.js" %}
</script>
</body>
</html>
