# What this is for and how it is called stands in debconf.go.
use strict;
use warnings;
use Debconf::Db;
use Debconf::Question;
use Debconf::Template;

my $verb = shift;
my (%asked, %gone, %was);
my $item;
while (my $line = <STDIN>) {
	chomp $line;
	my ($kind, $name, $value) = map { s/\\([\\nt])/{n => "\n", t => "\t", "\\" => "\\"}->{$1}/ger } split(/\t/, $line, -1);
	if ($kind eq 'asked') { $asked{$name}{$value} = 1 }
	elsif ($kind eq 'gone') { $gone{$name} = 1 }
	elsif ($kind eq 'question' || $kind eq 'template') { $item = $was{$kind}{$name} = {type => $value} }
	else { $item->{$kind}{$name} = $value // '' }
}
Debconf::Db->load;
my %db = (question => $Debconf::Db::config, template => $Debconf::Db::templates);

sub line {
	return join("\t", map { s/\\/\\\\/gr =~ s/\n/\\n/gr =~ s/\t/\\t/gr } @_) . "\n";
}

sub text {
	my ($kind, $name) = @_;
	my $db = $db{$kind};
	return '' unless defined $name && length $name && $db->exists($name);
	my $template = $kind eq 'question' ? $db->getfield($name, 'template') : $name;
	my $type = defined $template ? $db{template}->getfield($template, 'type') : undef;
	my $s = line($kind, $name, $type // 'string');
	$s .= line('owner', $_) for sort $db->owners($name);
	$s .= line('field', $_, $db->getfield($name, $_)) for sort $db->fields($name);
	$s .= line('flag', $_) for grep { $db->getflag($name, $_) eq 'true' } sort $db->flags($name);
	$s .= line('variable', $_, $db->getvariable($name, $_)) for sort $db->variables($name);
	return $s;
}

sub ours {
	my %found;
	my $i = $db{question}->iterator;
	while (my $name = $i->iterate) {
		$found{$name} = 1 if $asked{$name} || grep { $gone{$_} } $db{question}->owners($name);
	}
	return \%found;
}

# Made anew: debconf can take no variable away.
sub put {
	my ($kind, $name, $was, @owners) = @_;
	my $db = $db{$kind};
	$db->removeowner($name, $_) for $db->owners($name);
	$db->addowner($name, $_, $was->{type}) for sort @owners;
	$db->setfield($name, $_, $was->{field}{$_}) for keys %{$was->{field}};
	$db->setflag($name, $_, 'true') for keys %{$was->{flag}};
	$db->setvariable($name, $_, $was->{variable}{$_}) for keys %{$was->{variable}};
}

# Who came later stays.
sub owners {
	my ($name, $was) = @_;
	my %all = map { $_ => 1 } keys %{$was->{owner}};
	$all{$_} = 1 for grep { !$gone{$_} && !$asked{$name}{$_} } $db{question}->owners($name);
	return keys %all;
}

sub again {
	my ($name, $was) = @_;
	my $now = $db{question}->getfield($name, 'template');
	my $template = $was->{field}{template};
	put('question', $name, $was, owners($name, $was));
	$db{template}->removeowner($now, $name) if defined $now && length $now && $now ne ($template // '');
	my $old = $was{template}{$template // ''} or return;
	my %owners = map { $_ => 1 } $db{template}->owners($template), grep { $was{question}{$_} } keys %{$old->{owner}};
	put('template', $template, $old, keys %owners);
}

sub forget {
	my ($name) = @_;
	my $question = Debconf::Question->get($name) or return;
	$question->removeowner($_) for grep { $gone{$_} || $asked{$name}{$_} } $db{question}->owners($name);
}

if ($verb eq 'record') {
	my %templates;
	for my $question (sort keys %asked) {
		print line('asked', $question, $_) for sort keys %{$asked{$question}};
	}
	for my $name (sort keys %{ours()}) {
		print text('question', $name);
		my $template = $db{question}->getfield($name, 'template');
		print text('template', $template) unless $templates{$template // ''}++;
	}
	exit 0;
}
for my $name (sort keys %{{%{ours()}, %{$was{question} // {}}}}) {
	my $was = $was{question}{$name};
	my $template = $was ? $was->{field}{template} : undef;
	my $before = text('question', $name) . text('template', $template);
	if ($was) { again($name, $was) } else { forget($name) }
	print "$name\n" if text('question', $name) . text('template', $template) ne $before;
}
Debconf::Db->save if $verb eq 'restore';
