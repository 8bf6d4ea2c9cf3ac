<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="LatentAtlas {{ version }}">
<title>{{ title }}</title>
<link rel="icon" href="data:,">
<style>
{% include "report.css" %}
</style>
{% for script in scripts %}
<script>{{ script }}</script>
{% endfor %}
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<h1>{{ title }}</h1>
{{ lead }}
</header>
<div class="frame">
<nav aria-label="Contents">
<details class="contents" open>
<summary>Contents</summary>
<ol>
{% for section in sections %}
<li><a href="#{{ section.name }}">{{ section.title }}</a></li>
{% endfor %}
</ol>
</details>
</nav>
<main id="content" tabindex="-1">
{% for section in sections %}
<section id="{{ section.name }}" aria-labelledby="{{ section.name }}-title">
<h2 id="{{ section.name }}-title">{{ section.title }}</h2>
{% for item, html in section["items"] %}
<div class="item" id="{{ section.name }}-{{ item.desc }}">
{% if item.title %}
<h3>{{ esc(item.title) }}</h3>
{% endif %}
{{ html }}
{% if item.caption %}
<div class="caption">{{ item.caption }}</div>
{% endif %}
</div>
{% endfor %}
</section>
{% endfor %}
</main>
</div>
<footer>
LatentAtlas {{ version }}.
</footer>
<script>
{% include "report.js" %}
</script>
{% if scripts %}
<script>
{% include "explorer.js" %}
</script>
{% endif %}
<script>
{% include "viewer.js" %}
</script>
</body>
</html>
