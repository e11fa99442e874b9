from django.db import migrations


def mark_undone(apps, schema_editor):
    """Those that were undone before there was a mark, unless the undo was undone."""
    Sync = apps.get_model('rosters', 'Sync')
    undone = {}
    undos = Sync.objects.filter(status='applied', undoes__isnull=False, undoes__status='applied', undo_only={})
    for undo in undos.order_by('-applied_at', '-pk'):  # an undo comes after what it undoes
        if undo.pk not in undone:
            undone[undo.undoes_id] = undo.applied_at
    for pk, at in undone.items():
        Sync.objects.filter(pk=pk).update(undone_at=at)


class Migration(migrations.Migration):
    """By itself: PostgreSQL alters no table whose rows were changed in the same transaction."""

    dependencies = [
        ('rosters', '0022_undo_only'),
    ]

    operations = [
        migrations.RunPython(mark_undone, migrations.RunPython.noop),
    ]
