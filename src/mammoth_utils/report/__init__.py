"""What was published, whether ours agrees, how it looks: ``published``, ``statistics``, ``cells``, ``claims``,
``figures``, ``tables``, ``book``. Import the room that you need; none of them imports torch."""
